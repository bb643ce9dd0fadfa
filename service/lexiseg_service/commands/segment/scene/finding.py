"""From the answer for one window to its pieces: regions and objects, with outlines of what is in its core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import rasterio.features
import shapely
import shapely.geometry
from numpy.typing import NDArray

from lexiseg_model.masks.rle import decode_in_box
from lexiseg_model.types import Segment
from lexiseg_service.commands.segment.scene.grid import Cell
from lexiseg_service.commands.segment.scene.joining import Pieces, Roots


class Found(NamedTuple):
    """One piece with pixels in the core; `outline` is WKB of polygons in pixels of the picture."""

    number: int
    class_index: int
    score: float
    area: int
    outline: bytes


class Answered(NamedTuple):
    """Of one window: its pieces, and of its core the classes [h, w], from 1, 0 for nobody."""

    pieces: Pieces
    found: list[Found]
    classes: NDArray[np.uint16]


def pieces_of(
    cell: Cell, segments: Sequence[Segment], there: NDArray[np.bool_], roots: Roots, *, apart: bool
) -> Answered:
    """Pieces of disjoint segments.

    Args:
        cell: the window.
        segments: of it, each of a class.
        there: [h, w] which of its pixels there are.
        roots: where the pieces get their numbers.
        apart: whether segments may be objects: of things, or of what nobody knows.
    """
    height, width = cell.window.size
    core = cell.core.within(cell.window)
    regions = np.zeros(cell.core.size, np.int32)
    objects = np.zeros((height, width), np.int32)
    classes = np.zeros(cell.core.size, np.uint16)
    of_class: list[int] = []
    scores: list[float] = []
    first = roots.add(0)
    for segment in segments:
        assert segment.class_index is not None
        if not segment.area:
            continue
        x, y, w, h = segment.bbox
        mask = np.zeros((height, width), bool)
        mask[y : y + h, x : x + w] = decode_in_box(segment.mask)
        mask &= there
        inside = mask[core]
        classes[inside] = segment.class_index + 1
        if apart and segment.is_thing is not False:
            count = 1
            objects[mask] = first + len(of_class)
        else:
            labels, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
            count = labels - 1
            regions[inside] = parts[inside] + (first + len(of_class) - 1)
        of_class += [segment.class_index] * count
        scores += [segment.score] * count
    roots.add(len(of_class))
    mine = Pieces(cell, regions, objects if apart else None, first, np.array(of_class, np.int32))
    return Answered(mine, _outlined(cell, np.maximum(regions, objects[core]), mine, scores), classes)


def _outlined(cell: Cell, numbers: NDArray[np.int32], pieces: Pieces, scores: Sequence[float]) -> list[Found]:
    """Outlines of the pieces in a core, along the borders of pixels."""
    parts: dict[int, list[shapely.Polygon]] = {}
    for shape, value in rasterio.features.shapes(numbers, mask=numbers > 0, connectivity=4):
        parts.setdefault(int(value), []).append(shapely.geometry.shape(shape))
    areas = np.bincount(numbers[numbers > 0] - pieces.first, minlength=len(scores))
    corner = np.array([cell.core.left, cell.core.top], float)
    found = []
    for number, polygons in sorted(parts.items()):
        index = number - pieces.first
        outline = shapely.transform(shapely.MultiPolygon(polygons), lambda xy: xy + corner)
        area = int(areas[index])
        found.append(Found(number, int(pieces.classes[index]), scores[index], area, shapely.to_wkb(outline)))
    return found
