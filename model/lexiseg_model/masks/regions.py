"""Split a label map into connected regions; the box of a mask."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library, shapes
from lexiseg_model.types import LabelMap

MAX_REGIONS = 65_534  # ids have 16 bits, and one value means background


@dataclass(frozen=True)
class Regions:
    """N regions: `labels` [H, W] uint16, each pixel's region, N for the background; `owner` [N], their classes."""

    labels: NDArray[np.uint16]
    owner: NDArray[np.int64]


def split(
    labels: LabelMap,
    classes: list[int],
    smallest: int,
    whole: Collection[int] = (),
    check: Callable[[], None] = lambda: None,
) -> Regions:
    """Split class indices [H, W] into 4-connected regions, in the order of `classes`, the largest of each class first.

    Other classes are background. Regions of fewer than `smallest` pixels are dropped; `whole` classes stay one region
    each. `check` may raise to cancel.
    """
    connected = connect(labels)
    # By class, then area, then position in the map.
    order = np.lexsort((-connected.areas, connected.classes))
    of_class = connected.classes[order]
    new = np.full(len(order), MAX_REGIONS + 1, np.uint16)
    owner: list[int] = []
    for index in classes:
        check()
        parts = order[np.searchsorted(of_class, index) : np.searchsorted(of_class, index, side="right")]
        remaining = MAX_REGIONS - len(owner)
        if index in whole:
            if len(parts) and remaining:
                new[parts] = len(owner)
                owner.append(index)
            continue
        large = parts[connected.areas[parts] >= smallest][:remaining]
        new[large] = len(owner) + np.arange(len(large))
        owner += [index] * len(large)
    new[new > MAX_REGIONS] = len(owner)
    return Regions(connected.painted(new), np.array(owner, np.int64))


def tight_box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the outer edges of the pixels of a mask [H, W] that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def connect(labels: LabelMap) -> shapes.Connected:
    """The 4-connected regions of equal labels of a map [H, W]."""
    if library.ready() and labels.itemsize <= 2:
        return shapes.connect(labels)
    ids = np.zeros(labels.shape, np.int32)
    classes: list[int] = []
    for value in np.unique(labels).tolist():
        inside = labels == value
        n, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
        ids[inside] = parts[inside] + len(classes) - 1
        classes += [value] * (n - 1)
    flat = ids.reshape(-1)
    ends = np.append(np.flatnonzero(np.diff(flat)) + 1, flat.size)
    size = (labels.shape[0], labels.shape[1])
    return shapes.Connected(size, ends, flat[ends - 1], np.array(classes, np.int32), np.bincount(flat))
