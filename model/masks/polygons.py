"""Outlines of masks as polygons with holes, along the borders of pixels, so that they round-trip to the same mask.

A vertex is the corner between four pixels: x in 0..W, y in 0..H. A mask's border turns only at corners whose four
pixels hold one, three, or two opposite pixels of the mask; along each row and each column of corners the border runs
from every odd one to the next. So the rings are found by pairing sorted corners, with no walk along the pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model.types import Ring


def rings(mask: NDArray[np.bool_], offset: tuple[int, int] = (0, 0)) -> list[Ring]:
    """Polygons of a mask.

    Args:
        mask: [H, W].
        offset: (x, y) added to every vertex, for a mask that was cut out of a larger one.

    Returns:
        One ring per part, largest first; none for an empty mask.
    """
    if not mask.any():
        return []
    loops = _loops(mask)
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    exteriors: dict[int, NDArray[np.int64]] = {}
    holes: dict[int, list[NDArray[np.int64]]] = {}
    for loop in loops:
        # The mask lies to the right of every edge (y runs down), so this pixel is of the ring's own part.
        part = int(parts[_pixel_beside(loop[0], loop[1])])
        if _area(loop) > 0:
            exteriors[part] = loop
        else:
            holes.setdefault(part, []).append(loop)
    order = sorted(exteriors, key=lambda part: -_area(exteriors[part]))
    return [
        Ring(_flat(exteriors[part], offset), [_flat(hole, offset) for hole in holes.get(part, [])]) for part in order
    ]


def fill(shapes: list[Ring], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask [H, W] of polygons: even-odd along each row of pixel centres; the inverse of `rings`."""
    flips = np.zeros((size[0] + 1, size[1] + 1), bool)
    for shape in shapes:
        for flat in (shape.exterior, *shape.holes):
            corners = np.array(flat, np.int64).reshape(-1, 2)
            following = np.roll(corners, -1, 0)
            for (x, y), (next_x, next_y) in zip(corners, following, strict=True):
                if x == next_x:
                    flips[min(y, next_y) : max(y, next_y), x] ^= True
    return np.logical_xor.accumulate(flips, 1)[: size[0], : size[1]]


def _loops(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed borders [n, 2] of (x, y) corners, the mask on their right."""
    framed = np.pad(mask, 1)
    top_left, top_right = framed[:-1, :-1], framed[:-1, 1:]
    bottom_left, bottom_right = framed[1:, :-1], framed[1:, 1:]
    odd = top_left ^ top_right ^ bottom_left ^ bottom_right
    # Two parts that touch at one corner: the border passes there twice and keeps the parts apart.
    falling = top_left & bottom_right & ~top_right & ~bottom_left
    rising = top_right & bottom_left & ~top_left & ~bottom_right
    copies = odd.astype(np.int64) + 2 * (falling | rising)
    y, x = np.nonzero(copies)
    repeats = copies[y, x]
    crossing = np.repeat(rising[y, x], repeats)
    y, x = np.repeat(y, repeats), np.repeat(x, repeats)
    # In row order the first copy of a doubled corner ends the edge from the left, the second begins the one to the
    # right. Going up from the first or down from it decides which part it belongs to.
    copy = np.zeros(len(x), np.int64)
    copy[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    by_column = np.lexsort((copy ^ crossing, y, x))
    across = np.arange(len(x)) ^ 1  # partners in row order: 0-1, 2-3, ...
    along = np.empty(len(x), np.int64)
    along[by_column] = by_column[np.arange(len(x)) ^ 1]
    return _follow(np.stack([x, y], 1), across, along, mask)


def _follow(
    corners: NDArray[np.int64], across: NDArray[np.int64], along: NDArray[np.int64], mask: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """Alternates between partners in the row and in the column until the start comes round again."""
    across_of, along_of = across.tolist(), along.tolist()
    seen = bytearray(len(corners))
    loops = []
    for start in range(len(corners)):
        if seen[start]:
            continue
        path = []
        at = start
        while not seen[at]:
            seen[at] = 1
            path.append(at)
            at = across_of[at]
            seen[at] = 1
            path.append(at)
            at = along_of[at]
        loop = corners[path]
        loops.append(loop if _mask_on_the_right(loop, mask) else loop[::-1])
    return loops


def _mask_on_the_right(loop: NDArray[np.int64], mask: NDArray[np.bool_]) -> bool:
    row, column = _pixel_beside(loop[0], loop[1])
    inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
    return bool(inside and mask[row, column])


def _pixel_beside(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[int, int]:
    """(row, column) of the pixel to the right of an edge's beginning."""
    x, y = int(start[0]), int(start[1])
    if end[0] != x:
        return (y, x) if end[0] > x else (y - 1, x - 1)
    return (y, x - 1) if end[1] > y else (y - 1, x)


def _area(loop: NDArray[np.int64]) -> int:
    """Signed area by the shoelace formula: positive clockwise on the screen."""
    x, y = loop[:, 0], loop[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2


def _flat(loop: NDArray[np.int64], offset: tuple[int, int]) -> list[int]:
    flat: list[int] = (loop + np.array(offset)).reshape(-1).tolist()
    return flat
