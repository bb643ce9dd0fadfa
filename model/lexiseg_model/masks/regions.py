"""Connected regions of a label map: what a pixel method can say about instances."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel import regions as compiled
from lexiseg_model.types import LabelMap

MOST_REGIONS = 65_534  # ids are 16-bit, and one value means nobody


@dataclass(frozen=True)
class Regions:
    """`labels` [H, W] uint16: index of the region, `len(owner)` for nobody; `owner[i]` is the class of region i."""

    labels: NDArray[np.uint16]
    owner: NDArray[np.int64]


def split(
    labels: LabelMap,
    classes: list[int],
    smallest: int,
    whole: Collection[int] = (),
    check: Callable[[], None] = lambda: None,
) -> Regions:
    """Splits classes into regions connected by sides.

    Args:
        labels: [H, W] class indices.
        classes: which of them to split; all other pixels belong to nobody.
        smallest: regions of fewer pixels are dropped.
        whole: those of the classes that stay one region each, whatever parts they have.
        check: called before each class; what it raises ends the work.

    Returns:
        Regions class by class, in the order of `classes`, the largest of each class first.
    """
    if library.ready() and labels.itemsize <= 2:
        return _from_connected(compiled.connect(labels), classes, smallest, whole, check)
    regions = np.full(labels.shape, MOST_REGIONS + 1, np.uint16)
    owner: list[int] = []
    for index in classes:
        check()
        mask = (labels == index).astype(np.uint8)
        if index in whole:
            if mask.any() and len(owner) < MOST_REGIONS:
                regions[mask > 0] = len(owner)
                owner.append(index)
            continue
        n_parts, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        area = stats[1:, cv2.CC_STAT_AREA]
        kept = [part for part in np.argsort(-area, kind="stable") + 1 if area[part - 1] >= smallest]
        kept = kept[: MOST_REGIONS - len(owner)]
        renumbered = np.full(n_parts, MOST_REGIONS + 1, np.uint16)
        renumbered[kept] = len(owner) + np.arange(len(kept))
        inside = parts > 0
        regions[inside] = renumbered[parts[inside]]
        owner += [index] * len(kept)
    regions[regions > MOST_REGIONS] = len(owner)
    return Regions(regions, np.array(owner, np.int64))


def sum_by_region(regions: Regions, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of the values [H, W] of each region's pixels, and behind them of nobody's: [N + 1]."""
    n = len(regions.owner) + 1
    if library.ready():
        return compiled.sum_by_label(regions.labels, values, n)
    return np.bincount(regions.labels.reshape(-1), values.reshape(-1), n).astype(np.float64)


def _from_connected(
    connected: compiled.Connected,
    classes: list[int],
    smallest: int,
    whole: Collection[int],
    check: Callable[[], None],
) -> Regions:
    """What `split` answers, from the regions of all classes."""
    # Class by class, the largest first, of equal ones the first in the map.
    order = np.lexsort((-connected.areas, connected.classes))
    of_class = connected.classes[order]
    new = np.full(len(order), MOST_REGIONS + 1, np.uint16)
    owner: list[int] = []
    for index in classes:
        check()
        parts = order[np.searchsorted(of_class, index) : np.searchsorted(of_class, index, side="right")]
        if index in whole:
            if len(parts) and len(owner) < MOST_REGIONS:
                new[parts] = len(owner)
                owner.append(index)
            continue
        kept = parts[connected.areas[parts] >= smallest][: MOST_REGIONS - len(owner)]
        new[kept] = len(owner) + np.arange(len(kept))
        owner += [index] * len(kept)
    new[new > MOST_REGIONS] = len(owner)
    return Regions(compiled.paint(connected, new), np.array(owner, np.int64))
