"""Outlines of masks as polygons with holes, along the borders of pixels, so that they round-trip to the same mask.

A vertex is the corner between four pixels: x in 0..W, y in 0..H. A mask's border turns only at corners whose four
pixels hold one, three, or two opposite pixels of the mask; along each row and each column of corners the border runs
from every odd one to the next. So the rings are found by pairing sorted corners, with no walk along the pixels.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.calls import outlines
from lexiseg_model.masks.rle import decode_in_box, decode_spans
from lexiseg_model.types import Ring, Rle

Loop: TypeAlias = NDArray[np.int64]  # [n, 2] corners as x, y


def rings_of(rle: Rle, simplify: float = 0.0) -> list[Ring]:
    """Polygons of an encoded mask, at a cost that grows with its runs and not with its pixels.

    Args:
        rle: the mask.
        simplify: how far in pixels a border may stray; 0 keeps every corner, so that the mask comes back exactly. A
            part so small that nothing would be left of it keeps its corners, a hole so small is left out.

    Returns:
        One ring per part, largest first; none for an empty mask. Each border begins at its uppermost corner, of several
        at the leftmost.

    Raises:
        ShapeError: the counts are not those of a mask of that size.
    """
    if library.ready():
        parts = outlines(decode_spans(rle), rle.size)
    else:
        x, y, _, _ = rle.bbox
        parts = [[loop + np.array((x, y)) for loop in part] for part in _parts(decode_in_box(rle))]
    if simplify:
        parts = [_simplified(part, simplify) for part in parts]
    return [Ring(part[0].reshape(-1).tolist(), [hole.reshape(-1).tolist() for hole in part[1:]]) for part in parts]


def _simplified(part: list[Loop], tolerance: float) -> list[Loop]:
    """Douglas and Peucker's choice of the corners of an exterior and of its holes."""
    exterior, *holes = (
        cv2.approxPolyDP(loop.astype(np.int32)[:, None], tolerance, closed=True)[:, 0].astype(np.int64) for loop in part
    )
    return [exterior if _area(exterior) > 0 else part[0], *(hole for hole in holes if _area(hole) < 0)]


def _parts(mask: NDArray[np.bool_]) -> list[list[Loop]]:
    """The borders of each part: its exterior and its holes."""
    loops = _loops(mask)
    areas = [_area(loop) for loop in loops]
    order = sorted(
        (loop for loop, area in zip(loops, areas, strict=True) if area > 0),
        key=lambda loop: (-_area(loop), loop[0, 1], loop[0, 0]),
    )
    holes = _by_part(mask, order, [loop for loop, area in zip(loops, areas, strict=True) if area < 0])
    return [[exterior, *inside] for exterior, inside in zip(order, holes, strict=True)]


def _by_part(
    mask: NDArray[np.bool_], exteriors: list[NDArray[np.int64]], holes: list[NDArray[np.int64]]
) -> list[list[NDArray[np.int64]]]:
    """The holes of each exterior."""
    if len(exteriors) < 2 or not holes:  # parts cost a look at every pixel
        return [holes for _ in exteriors]
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    holes_of: dict[int, list[NDArray[np.int64]]] = {}
    for hole in holes:
        # The mask lies to the right of every edge (y runs down), so this pixel is of the ring's own part.
        holes_of.setdefault(int(parts[_pixel_beside(hole[0], hole[1])]), []).append(hole)
    return [holes_of.get(int(parts[_pixel_beside(loop[0], loop[1])]), []) for loop in exteriors]


def _loops(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed borders [n, 2] of (x, y) corners, the mask on their right."""
    y, x, copies, rising = _corners(mask)
    crossing = np.repeat(rising, copies)
    y, x = np.repeat(y, copies), np.repeat(x, copies)
    # In row order the first copy of a doubled corner ends the edge from the left, the second begins the one to the
    # right. Going up from the first or down from it decides which part it belongs to.
    copy = np.zeros(len(x), np.int64)
    copy[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    by_column = np.lexsort((copy ^ crossing, y, x))
    across = np.arange(len(x)) ^ 1  # partners in row order: 0-1, 2-3, ...
    along = np.empty(len(x), np.int64)
    along[by_column] = by_column[np.arange(len(x)) ^ 1]
    return _follow(np.stack([x, y], 1), across, along, mask)


def _corners(
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Where the border turns, row by row: y, x, how often it passes there, and whether twice between rising parts."""
    framed = np.pad(mask.T, 1)  # columns first, as masks come out of run lengths
    across = framed[:, 1:] != framed[:, :-1]
    # Only where the border runs along a column it can turn, which is almost nowhere.
    height = across.shape[1]
    x, y = np.divmod(np.flatnonzero(across[1:] | across[:-1]), height)
    top_left, top_right = framed[x, y], framed[x + 1, y]
    bottom_left, bottom_right = framed[x, y + 1], framed[x + 1, y + 1]
    odd = top_left ^ top_right ^ bottom_left ^ bottom_right
    # Two parts that touch at one corner: the border passes there twice and keeps the parts apart.
    falling = top_left & bottom_right & ~top_right & ~bottom_left
    rising = top_right & bottom_left & ~top_left & ~bottom_right
    copies = odd.astype(np.int64) + 2 * (falling | rising)
    turns = np.flatnonzero(copies)
    turns = turns[np.lexsort((x[turns], y[turns]))]
    return y[turns], x[turns], copies[turns], rising[turns]


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
        # Walked the other way, it still begins at its uppermost corner.
        loops.append(loop if _mask_on_the_right(loop, mask) else np.roll(loop[::-1], 1, 0))
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
    """Twice the signed area by the shoelace formula: positive clockwise on the screen."""
    x, y = loop[:, 0], loop[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
