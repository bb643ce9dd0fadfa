"""Polygons with holes, back to the mask that they came from, or to one like it where sides were simplified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.errors import UnreadableAnswer


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
