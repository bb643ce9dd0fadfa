"""Convert masks to polygons with holes along pixel edges, which round-trip to the same mask.

A vertex is the corner between four pixels: x in 0..W, y in 0..H.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.library import outlines
from lexiseg_model.masks.rle import decode, decode_spans
from lexiseg_model.types import Ring, Rle

Loop: TypeAlias = NDArray[np.int64]  # [n, 2] corners as x, y
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # rows and columns to the right, down, left, up
UP = 3
AROUND = ((0, 1), (1, 0), (1, 2), (2, 1))  # first row and column, in a mask with a frame, of the pixels on four sides


def rings_of(rle: Rle, simplify: float = 0.0) -> list[Ring]:
    """Polygons of an encoded mask; by the kernel at a cost proportional to its runs.

    Args:
        rle: the mask.
        simplify: tolerance in pixels (Douglas-Peucker); 0 keeps every corner and thus the exact mask. Parts that would
            vanish keep their corners; holes that would vanish are dropped.

    Returns:
        One ring per part, largest first; none for an empty mask. Each contour starts at its uppermost, then leftmost
        corner.

    Raises:
        ShapeError: the counts do not match the mask's size.
    """
    if library.ready():
        parts = outlines(decode_spans(rle), rle.size)
    else:
        x, y, width, height = rle.bbox
        inside = decode(rle)[y : y + height, x : x + width]
        parts = [[loop + np.array((x, y)) for loop in part] for part in _parts(inside)]
    if simplify:
        parts = [_simplified(part, simplify) for part in parts]
    return [Ring(part[0].reshape(-1).tolist(), [hole.reshape(-1).tolist() for hole in part[1:]]) for part in parts]


def _simplified(part: list[Loop], tolerance: float) -> list[Loop]:
    """Simplify an exterior and its holes by Douglas-Peucker."""
    exterior, *holes = (
        cv2.approxPolyDP(loop.astype(np.int32)[:, None], tolerance, closed=True)[:, 0].astype(np.int64) for loop in part
    )
    return [exterior if _area(exterior) > 0 else part[0], *(hole for hole in holes if _area(hole) < 0)]


def _parts(mask: NDArray[np.bool_]) -> list[list[Loop]]:
    """The contours of each part: its exterior and its holes."""
    loops = _loops(mask)
    areas = [_area(loop) for loop in loops]
    order = sorted(
        (loop for loop, area in zip(loops, areas, strict=True) if area > 0),
        key=lambda loop: (-_area(loop), loop[0, 1], loop[0, 0]),
    )
    holes = _by_part(mask, order, [loop for loop, area in zip(loops, areas, strict=True) if area < 0])
    return [[exterior, *inside] for exterior, inside in zip(order, holes, strict=True)]


def _by_part(mask: NDArray[np.bool_], exteriors: list[Loop], holes: list[Loop]) -> list[list[Loop]]:
    """The holes of each exterior."""
    if len(exteriors) < 2 or not holes:  # skip labelling all pixels
        return [holes for _ in exteriors]
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    holes_of: dict[int, list[Loop]] = {}
    for hole in holes:
        # The mask is on the right of every edge (y runs down), so this pixel belongs to the ring's own part.
        holes_of.setdefault(int(parts[_pixel_beside(hole[0], hole[1])]), []).append(hole)
    return [holes_of.get(int(parts[_pixel_beside(loop[0], loop[1])]), []) for loop in exteriors]


def _loops(mask: NDArray[np.bool_]) -> list[Loop]:
    """Closed borders of (x, y) corners, the mask on their right, each from its uppermost corner, the leftmost of these.

    They are walked along the sides of pixels; where two parts touch at a corner, a turn to the right stays at its part.
    """
    above, left, right, below = (np.pad(mask, 1)[y : y - 2 or None, x : x - 2 or None] for y, x in AROUND)
    sides = ((mask & ~above, (0, 0)), (mask & ~right, (1, 0)), (mask & ~below, (1, 1)), (mask & ~left, (0, 1)))
    leaving: dict[tuple[int, int], list[int]] = defaultdict(list)  # corner -> directions of the sides that begin there
    for direction, (border, (x_of_start, y_of_start)) in enumerate(sides):
        for y, x in np.argwhere(border).tolist():
            leaving[y + y_of_start, x + x_of_start].append(direction)
    loops = []
    for at in sorted(leaving):
        path, direction = [], UP
        while leaving[at]:
            ways = leaving[at]
            way = ways[0] if len(ways) == 1 else (direction + 1) % len(STEPS)
            ways.remove(way)
            if way != direction:
                path.append(at[::-1])
            direction = way
            at = (at[0] + STEPS[way][0], at[1] + STEPS[way][1])
        if path:
            loops.append(np.array(path, np.int64))
    return loops


def _pixel_beside(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[int, int]:
    """(row, column) of the pixel on the right of an edge's start."""
    x, y = int(start[0]), int(start[1])
    if end[0] != x:
        return (y, x) if end[0] > x else (y - 1, x - 1)
    return (y, x - 1) if end[1] > y else (y - 1, x)


def _area(loop: NDArray[np.int64]) -> int:
    """Twice the signed area (shoelace formula), positive for clockwise on the screen."""
    x, y = loop[:, 0], loop[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
