"""Polygons filled plainly, to compare with the masks that they came from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.types import Ring


def fill(polygons: Sequence[Ring], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Even-odd along each row of pixel centres."""
    flips = np.zeros((shape[0] + 1, shape[1] + 1), bool)
    for flat in (flat for ring in polygons for flat in (ring.exterior, *ring.holes)):
        corners = np.array(flat).reshape(-1, 2)
        for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, 0), strict=True):
            if x == next_x:
                flips[min(y, next_y) : max(y, next_y), x] ^= True
    return np.logical_xor.accumulate(flips, 1)[: shape[0], : shape[1]]
