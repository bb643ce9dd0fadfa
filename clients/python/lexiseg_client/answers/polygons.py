"""Polygons with holes along the borders of pixels, back to the mask that they came from."""

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
        UnreadableAnswer: a corner lies outside the image, or a side is slanted.
    """
    height, width = size
    loops = [loop for ring in rings for loop in (ring.exterior, *ring.holes) if len(loop)]
    if not loops:
        return np.zeros(size, bool)
    start = np.concatenate(loops)
    end = np.concatenate([np.roll(loop, -1, 0) for loop in loops])
    if (start < 0).any() or (start > [width, height]).any() or ((start != end).all(1)).any():
        raise UnreadableAnswer(f"the rings of a mask of {height} x {width} leave it, or leave the borders of pixels")
    upright = start[:, 0] == end[:, 0]
    x = start[upright, 0]
    top, bottom = np.minimum(start, end)[upright, 1], np.maximum(start, end)[upright, 1]
    # Each upright side flips the rows beside it: marked where it begins and where it ends, then summed down and across.
    flips = np.zeros((height + 1, width + 1), np.int32)
    np.add.at(flips, (top, x), 1)
    np.add.at(flips, (bottom, x), -1)
    crossings = np.cumsum(np.cumsum(flips, 0), 1)
    inside: NDArray[np.bool_] = crossings[:height, :width] % 2 == 1
    return inside
