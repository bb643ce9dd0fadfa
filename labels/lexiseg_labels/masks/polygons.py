"""Trace masks into polygons with holes along pixel edges, simplify them, and fill them again, in numpy.

A contour turns only at pixel corners where one, three or two diagonally opposite of the four pixels belong to the mask.
In each row and each column of corners, edges run from the odd-numbered corners to the even-numbered ones, so sorted
corners are paired without following the contour pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableAnswer

Contour: TypeAlias = NDArray[np.int64]  # [n, 2] corners as x, y


@dataclass(frozen=True, eq=False)
class Ring:
    """A polygon with holes, one per connected part: contours [n, 2] of pixel corners as x, y (0..W, 0..H)."""

    exterior: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ring):
            return NotImplemented
        if len(self.holes) != len(other.holes):
            return False
        pairs = zip((self.exterior, *self.holes), (other.exterior, *other.holes), strict=True)
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)

    def __hash__(self) -> int:
        return hash(self.exterior.tobytes())


def fill(rings: Sequence[Ring], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Rasterise rings to a mask [H, W]: a pixel is inside if its centre is, by the even-odd rule."""
    height, width = size
    contours = [contour for ring in rings for contour in (ring.exterior, *ring.holes) if len(contour)]
    if not contours:
        return np.zeros(size, bool)
    start = np.concatenate(contours)
    if (start < 0).any() or (start > [width, height]).any():
        raise UnreadableAnswer(f"a ring has corners outside its image of {height} x {width}")
    end = np.concatenate([np.roll(contour, -1, 0) for contour in contours])
    # Each edge crosses the centre lines of rows top to bottom - 1; each crossing flips all pixels to its right.
    top, bottom = np.minimum(start, end)[:, 1], np.maximum(start, end)[:, 1]
    crossing_edges, row = _by_row(top, bottom)
    first, last = start[crossing_edges], end[crossing_edges]
    x = first[:, 0] + (row + 0.5 - first[:, 1]) * (last[:, 0] - first[:, 0]) / (last[:, 1] - first[:, 1])
    flips = np.zeros((height, width + 1), bool)
    np.logical_xor.at(flips, (row, np.ceil(x - 0.5).astype(np.int64)), True)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(flips, 1)[:, :width]
    return inside


def rings_of(mask: NDArray[np.bool_]) -> tuple[Ring, ...]:
    """Trace a mask [H, W] into one ring per 4-connected part, largest first; empty for an empty mask."""
    contours = _contours(mask)
    areas = [area(contour) for contour in contours]
    # The same order as the service's: of equal areas the uppermost first, then the leftmost.
    by_area = sorted((k for k, size in enumerate(areas) if size > 0), key=lambda k: (areas[k], *-contours[k][0, ::-1]))
    exteriors = [contours[k] for k in by_area]  # smallest first
    holes_of: list[list[Contour]] = [[] for _ in exteriors]
    holes = [k for k, size in enumerate(areas) if size < 0]
    place_of = {k: place for place, k in enumerate(by_area)}
    for hole, beside in zip(holes, _left_of(contours, holes), strict=True):
        # An exterior, or a hole of the same part, which lies higher: its place is known.
        place_of[hole] = place_of[beside]
        holes_of[place_of[hole]].append(contours[hole])
    return tuple(Ring(contour, tuple(holes)) for contour, holes in zip(exteriors[::-1], holes_of[::-1], strict=True))


def _left_of(contours: Sequence[Contour], holes: Sequence[int]) -> list[int]:
    """For each hole the contour that bounds, to the left, the pixel above its first corner: it is of the same part."""
    if not holes:
        return []
    start = np.concatenate(contours)
    end = np.concatenate([np.roll(contour, -1, 0) for contour in contours])
    contour_of = np.repeat(np.arange(len(contours)), [len(contour) for contour in contours])
    edges, row = _by_row(*np.sort([start[:, 1], end[:, 1]], 0))
    width = int(start[:, 0].max()) + 1
    places = row * width + start[edges, 0]
    order = np.argsort(places)
    x, y = np.array([contours[hole][0] for hole in holes]).T
    place = np.searchsorted(places[order], (y - 1) * width + x, "right") - 1
    left: list[int] = contour_of[edges[order[place]]].tolist()
    return left


def _by_row(top: Contour, bottom: Contour) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of edges, each once for every row of pixels from its top to its bottom, and the rows."""
    edges = np.repeat(np.arange(len(top)), bottom - top)
    return edges, np.arange(len(edges)) + np.repeat(bottom - np.cumsum(bottom - top), bottom - top)


def simplified(rings: tuple[Ring, ...], tolerance: float) -> tuple[Ring, ...]:
    """Simplify rings with the Douglas-Peucker algorithm by up to `tolerance` pixels.

    An exterior that would vanish keeps its corners; a hole that would vanish is dropped.
    """
    if tolerance <= 0:
        return rings
    return tuple(_simplified(ring, tolerance) for ring in rings)


def area(contour: Contour) -> float:
    """Signed area in pixels (shoelace formula), positive for clockwise contours with y down."""
    x, y = contour[:, 0], contour[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _simplified(ring: Ring, tolerance: float) -> Ring:
    exterior = _douglas_peucker(ring.exterior, tolerance)
    holes = (_douglas_peucker(hole, tolerance) for hole in ring.holes)
    return Ring(exterior if area(exterior) > 0 else ring.exterior, tuple(hole for hole in holes if area(hole) < 0))


def _douglas_peucker(contour: Contour, tolerance: float) -> Contour:
    """Simplify a closed contour, split at its first corner and the corner farthest from it."""
    farthest = int(((contour - contour[0]) ** 2).sum(1).argmax())
    closed = np.concatenate([contour, contour[:1]])
    keep = np.zeros(len(closed), bool)
    keep[[0, farthest]] = True
    pending = [(0, farthest), (farthest, len(contour))]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        start, chord = closed[first], closed[last] - closed[first]
        between = closed[first + 1 : last] - start
        length = float(np.hypot(*chord))
        cross_product = chord[0] * between[:, 1] - chord[1] * between[:, 0]
        distances = np.abs(cross_product) / length if length else np.hypot(between[:, 0], between[:, 1])
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return contour[keep[:-1]]


def _contours(mask: NDArray[np.bool_]) -> list[Contour]:
    """Closed contours with the mask on their right, each starting at its top-left corner."""
    framed = np.pad(mask, 1)
    top_left, top_right = framed[:-1, :-1], framed[:-1, 1:]
    bottom_left, bottom_right = framed[1:, :-1], framed[1:, 1:]
    odd = top_left ^ top_right ^ bottom_left ^ bottom_right
    # Diagonal pixels touch at a corner: the contour passes it twice and keeps the parts separate.
    rising = top_right & bottom_left & ~top_left & ~bottom_right
    falling = top_left & bottom_right & ~top_right & ~bottom_left
    y, x = np.nonzero(odd | rising | falling)  # row by row
    copies = 1 + (rising | falling)[y, x]
    crossing = np.repeat(rising[y, x], copies)
    y, x = np.repeat(y, copies), np.repeat(x, copies)
    # In row order, the first copy of a doubled corner ends the edge from the left, the second starts the edge to the
    # right. Whether the first copy continues up or down decides which part it belongs to.
    copy = np.zeros(len(x), np.int64)
    copy[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    by_column = np.lexsort((copy ^ crossing, y, x))
    column_partner = np.empty(len(x), np.int64)
    column_partner[by_column] = by_column[np.arange(len(x)) ^ 1]
    corners = np.stack([x, y], 1)
    partner = column_partner.tolist()
    visited = bytearray(len(corners))
    contours = []
    for start in range(len(corners)):
        if visited[start]:
            continue
        path, corner = [], start
        while not visited[corner]:
            path += [corner, corner ^ 1]  # partners in row order: 0-1, 2-3, ...
            visited[corner] = visited[corner ^ 1] = 1
            corner = partner[corner ^ 1]
        contour = corners[path]
        # The first edge runs right: an exterior has the mask below it, on its right; a hole, above it: reverse it.
        is_exterior = mask[contour[0, 1], contour[0, 0]] if contour[0, 1] < mask.shape[0] else False
        contours.append(contour if is_exterior else np.roll(contour[::-1], 1, 0))
    return contours
