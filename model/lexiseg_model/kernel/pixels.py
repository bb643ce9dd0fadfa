"""Pictures made smaller, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def halve(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As `lexiseg_model.masks.halve.halve`: [N, H, W] of even sides -> [N, H / 2, W / 2]."""
    planes = np.ascontiguousarray(planes)
    halved = np.empty((len(planes), planes.shape[1] // 2, planes.shape[2] // 2), np.uint8)
    call("halve", planes, *halved.shape, halved)
    return halved


class Areas(NamedTuple):
    """What each of n pixels of a side is made of: those of the larger side from `first` [n] on, `weights` [n, taps]."""

    first: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.first.nbytes + self.weights.nbytes


def shrink(rgb: NDArray[np.uint8], down: Areas, across: Areas) -> NDArray[np.uint8]:
    """As `lexiseg_model.masks.shrink.shrink`: [H, W, 3] -> [3, h, w]."""
    rgb = np.ascontiguousarray(rgb)
    planes = np.empty((3, len(down.first), len(across.first)), np.uint8)
    sides = [part for side in (across, down) for part in (*side, side.weights.shape[1], len(side.first))]
    call("shrink", rgb, rgb.shape[1], *sides, planes)
    return planes
