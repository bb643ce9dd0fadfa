"""Connected regions of a label map, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call, is_wide
from lexiseg_model.types import LabelMap


class Connected(NamedTuple):
    """Regions of a map [H, W], in the order of their first pixels row by row: the class and the pixels of each, [N].

    `ends` and `region` [R] are of the runs along the rows: one past each, and whose it is.
    """

    size: tuple[int, int]
    ends: NDArray[np.int64]
    region: NDArray[np.int32]
    classes: NDArray[np.int32]
    areas: NDArray[np.int64]


def connect(labels: LabelMap) -> Connected:
    """Regions of equal labels that are connected by sides; labels [H, W] of 1 or 2 bytes."""
    labels = np.ascontiguousarray(labels)
    size = (labels.shape[0], labels.shape[1])
    n = call("count_row_runs", labels, *size, is_wide(labels))
    ends, region, areas = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int64)
    classes = np.empty(n, np.int32)
    n_regions = call("connect", labels, *size, is_wide(labels), n, ends, region, areas, classes)
    return Connected(size, ends, region, classes[:n_regions], areas[:n_regions])


def paint(connected: Connected, of_region: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """[H, W]: every pixel has what its region has, of [N]."""
    painted = np.empty(connected.size, np.uint16)
    call("paint_regions", connected.ends, connected.region, len(connected.ends), of_region, painted)
    return painted


def sum_by_label(labels: LabelMap, values: NDArray[np.float32], n_labels: int) -> NDArray[np.float64]:
    """[n_labels]: the sum of the values [H, W] of each label's pixels; labels [H, W] are below `n_labels`."""
    sums = np.zeros(n_labels)
    labels, values = np.ascontiguousarray(labels), np.ascontiguousarray(values)
    call("sum_by_label", labels, is_wide(labels), values, labels.size, sums)
    return sums
