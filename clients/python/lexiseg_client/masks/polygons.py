"""Masks to polygons with holes along the borders of pixels, and back, with numpy alone.

A border turns only at corners whose four pixels hold one, three, or two opposite pixels of the mask. Along each row and
each column of corners it runs from every odd corner to the next one, so sorted corners can be paired without following
the border pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.errors import UnreadableAnswer

Loop: TypeAlias = NDArray[np.int64]  # [n, 2] corners as x, y


@dataclass(frozen=True, eq=False)
class Ring:
    """One connected part: an exterior and its holes, each [n, 2] corners of pixels as x, y (0..W, 0..H)."""

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
    """The mask [H, W] of rings: a pixel is inside when its centre is, even-odd along each row.

    Raises:
        UnreadableAnswer: a corner lies outside the image.
    """
    height, width = size
    loops = [loop for ring in rings for loop in (ring.exterior, *ring.holes) if len(loop)]
    if not loops:
        return np.zeros(size, bool)
    start = np.concatenate(loops)
    if (start < 0).any() or (start > [width, height]).any():
        raise UnreadableAnswer(f"the rings of a mask of {height} x {width} leave it")
    end = np.concatenate([np.roll(loop, -1, 0) for loop in loops])
    # Every side crosses the centres of so many rows, each at one place: what lies to the right of it changes sides.
    above, below = np.minimum(start, end)[:, 1], np.maximum(start, end)[:, 1]
    crossed = np.repeat(np.arange(len(start)), below - above)
    row = np.arange(len(crossed)) + np.repeat(above - np.cumsum(below - above) + (below - above), below - above)
    first, last = start[crossed], end[crossed]
    x = first[:, 0] + (row + 0.5 - first[:, 1]) * (last[:, 0] - first[:, 0]) / (last[:, 1] - first[:, 1])
    flips = np.zeros((height, width + 1), bool)
    np.logical_xor.at(flips, (row, np.ceil(x - 0.5).astype(np.int64)), True)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(flips, 1)[:, :width]
    return inside


def rings_of(mask: NDArray[np.bool_]) -> tuple[Ring, ...]:
    """One ring for each part that is connected by sides, the largest first; none of an empty mask.

    Args:
        mask: [H, W].
    """
    loops = _loops(mask)
    areas = [area(loop) for loop in loops]
    order = sorted((k for k, size in enumerate(areas) if size > 0), key=lambda k: areas[k])
    exteriors = [loops[k] for k in order]  # smallest first
    inside: list[list[Loop]] = [[] for _ in exteriors]
    holes = [loop for loop, size in zip(loops, areas, strict=True) if size < 0]
    if holes and len(exteriors) == 1:
        inside[0] = holes
    elif holes:
        lows, highs = np.array([[loop.min(0), loop.max(0)] for loop in exteriors]).swapaxes(0, 1)
        for hole in holes:
            # A hole begins at its uppermost corner, of several at the leftmost: the pixel above is of its part.
            x, y = hole[0] + (0.5, -0.5)
            near = np.flatnonzero(((lows < (x, y)) & (highs > (x, y))).all(1))
            # Of those around it the smallest: larger ones hold that part in a hole of theirs.
            inside[next(k for k in near if _holds(exteriors[k], x, y))].append(hole)
    return tuple(Ring(loop, tuple(holes)) for loop, holes in zip(exteriors[::-1], inside[::-1], strict=True))


def simplified(rings: tuple[Ring, ...], tolerance: float) -> tuple[Ring, ...]:
    """The rings with fewer corners, by Douglas and Peucker.

    Args:
        tolerance: how far in pixels a border may stray. A part of which nothing would be left keeps its corners, a hole
            so small is left out.
    """
    if tolerance <= 0:
        return rings
    return tuple(_simplified(ring, tolerance) for ring in rings)


def one_loop(rings: tuple[Ring, ...]) -> Loop:
    """All rings as one closed line, for formats that know neither holes nor parts: joined there and back.

    The ways between have no width, so that what the line encloses, even-odd or by winding, is the same.
    """
    joined: Loop = np.zeros((0, 2), np.int64)
    for loop in (loop for ring in rings for loop in (ring.exterior, *ring.holes)):
        if not len(joined):
            joined = loop
            continue
        distances = ((joined[:, None] - loop[None]) ** 2).sum(2) if len(joined) * len(loop) < 2**22 else None
        here, there = (0, 0) if distances is None else divmod(int(distances.argmin()), len(loop))
        turned = np.roll(loop, -there, 0)
        joined = np.concatenate([joined[: here + 1], turned, turned[:1], joined[here:]])
    return joined


def area(loop: Loop) -> float:
    """Signed, in pixels, by the shoelace formula: positive clockwise on the screen."""
    x, y = loop[:, 0], loop[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _simplified(ring: Ring, tolerance: float) -> Ring:
    exterior = _fewer(ring.exterior, tolerance)
    holes = (_fewer(hole, tolerance) for hole in ring.holes)
    return Ring(exterior if area(exterior) > 0 else ring.exterior, tuple(hole for hole in holes if area(hole) < 0))


def _fewer(loop: Loop, tolerance: float) -> Loop:
    """A closed line is cut in two where it is farthest from its beginning."""
    far = int(((loop - loop[0]) ** 2).sum(1).argmax())
    closed = np.concatenate([loop, loop[:1]])
    keep = np.zeros(len(closed), bool)
    keep[[0, far]] = True
    pending = [(0, far), (far, len(loop))]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        start, along = closed[first], closed[last] - closed[first]
        between = closed[first + 1 : last] - start
        length = float(np.hypot(*along))
        crossed = along[0] * between[:, 1] - along[1] * between[:, 0]
        distances = np.abs(crossed) / length if length else np.hypot(between[:, 0], between[:, 1])
        worst = int(distances.argmax())
        if distances[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    return loop[keep[:-1]]


def _holds(loop: Loop, x: float, y: float) -> bool:
    """Whether a line to the left crosses the border an odd number of times."""
    following = np.roll(loop, -1, 0)
    upright = (loop[:, 0] == following[:, 0]) & (loop[:, 0] < x)
    top, bottom = np.minimum(loop[:, 1], following[:, 1]), np.maximum(loop[:, 1], following[:, 1])
    return bool((upright & (top < y) & (bottom > y)).sum() % 2)


def _loops(mask: NDArray[np.bool_]) -> list[Loop]:
    """Closed borders, the mask on their right; each begins at its uppermost corner, of several at the leftmost."""
    framed = np.pad(mask, 1)
    top_left, top_right = framed[:-1, :-1], framed[:-1, 1:]
    bottom_left, bottom_right = framed[1:, :-1], framed[1:, 1:]
    odd = top_left ^ top_right ^ bottom_left ^ bottom_right
    # Two parts that touch at one corner: the border passes there twice and keeps the parts apart.
    rising = top_right & bottom_left & ~top_left & ~bottom_right
    falling = top_left & bottom_right & ~top_right & ~bottom_left
    y, x = np.nonzero(odd | rising | falling)  # row by row
    copies = 1 + (rising | falling)[y, x]
    crossing = np.repeat(rising[y, x], copies)
    y, x = np.repeat(y, copies), np.repeat(x, copies)
    # In row order the first copy of a doubled corner ends the edge from the left, the second begins the one to the
    # right. Going up from the first or down from it decides which part it belongs to.
    copy = np.zeros(len(x), np.int64)
    copy[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    by_column = np.lexsort((copy ^ crossing, y, x))
    along = np.empty(len(x), np.int64)
    along[by_column] = by_column[np.arange(len(x)) ^ 1]
    corners = np.stack([x, y], 1)
    partner = along.tolist()
    seen = bytearray(len(corners))
    loops = []
    for start in range(len(corners)):
        if seen[start]:
            continue
        path, at = [], start
        while not seen[at]:
            path += [at, at ^ 1]  # partners in row order: 0-1, 2-3, ...
            seen[at] = seen[at ^ 1] = 1
            at = partner[at ^ 1]
        loop = corners[path]
        # It begins to the right along its upper side, with the mask below: on its right. Of a hole the mask is above.
        below = mask[loop[0, 1], loop[0, 0]] if loop[0, 1] < mask.shape[0] else False
        loops.append(loop if below else np.roll(loop[::-1], 1, 0))
    return loops
