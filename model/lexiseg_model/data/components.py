"""Objects out of label maps: what is connected is one. For sets whose annotators drew classes and no instances."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.scenes import NOTHING, VOID, Ids, Objects, PanopticTruth, TruthSegment

SMALLEST_SHARE = 0.001  # of the picture, that an object must have, and
SMALLEST_AREA = 100  # pixels: below either it is a speck of the annotation


class Components(NamedTuple):
    """`ids` [H, W] int32: i + 1 for component i, 0 for none; the class of each, and its area in pixels."""

    ids: Ids
    labels: tuple[int, ...]
    areas: tuple[int, ...]


def components(labels: NDArray[np.unsignedinteger], of: Collection[int], smallest: float | None = None) -> Components:
    """Components, connected by sides or corners, of some classes; specks are left out.

    Args:
        labels: [H, W] class indices.
        of: the classes to look at.
        smallest: pixels that a component must have; None: those of the measures.

    Returns:
        Class by class in ascending order, in each in reading order of their first pixels.
    """
    if smallest is None:
        smallest = max(SMALLEST_AREA, SMALLEST_SHARE * labels.size)
    ids = np.zeros(labels.shape, np.int32)
    owner: list[int] = []
    areas: list[int] = []
    for class_index in np.unique(labels).tolist():
        if class_index not in of:
            continue
        _, parts, stats, _ = cv2.connectedComponentsWithStats((labels == class_index).astype(np.uint8), connectivity=8)
        area = stats[:, cv2.CC_STAT_AREA]
        large = np.flatnonzero(area[1:] >= smallest) + 1
        number = np.zeros(len(area), np.int32)
        number[large] = len(owner) + 1 + np.arange(len(large))
        ids += number[parts]
        owner += [class_index] * len(large)
        areas += area[large].tolist()
    return Components(ids, tuple(owner), tuple(areas))


def objects_of(labels: NDArray[np.unsignedinteger], of: Collection[int], ignored: int) -> Objects:
    """Every component of some classes as an object.

    Args:
        labels: [H, W] class indices.
        of: classes that have objects.
        ignored: value of pixels that count nowhere.
    """
    regions = components(labels, of)
    return Objects(regions.ids, regions.labels, labels == ignored)


def panoptic_of(
    labels: NDArray[np.unsignedinteger], things: Collection[int], stuff: Collection[int], ignored: int
) -> PanopticTruth:
    """Each component of a thing and each stuff class as a segment; specks of things are void.

    Args:
        labels: [H, W] class indices; a class that is neither thing nor stuff is NOTHING.
        things: classes that come in pieces.
        stuff: classes that do not.
        ignored: value of pixels that are void.
    """
    regions = components(labels, things)
    ids = np.where(np.isin(labels, list(things)) | (labels == ignored), VOID, NOTHING).astype(np.int32)
    inside = regions.ids > 0
    ids[inside] = regions.ids[inside]
    segments = [
        TruthSegment(index + 1, class_index, area)
        for index, (class_index, area) in enumerate(zip(regions.labels, regions.areas, strict=True))
    ]
    for class_index in np.unique(labels).tolist():
        if class_index in stuff:
            covered = labels == class_index
            segments.append(TruthSegment(len(segments) + 1, class_index, int(covered.sum())))
            ids[covered] = segments[-1].id
    return PanopticTruth(ids, tuple(segments))
