"""Pixels inside a polygon with fractional corners, as COCO and LVIS store instances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError


def fill_polygon(ring: Sequence[float] | NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask [H, W] of pixels whose centres lie inside, by the even-odd rule.

    Args:
        ring: x, y, x, y, ... of at least three corners, in pixels; (0, 0) is the corner of the first pixel. What lies
            beyond the image is cut off.
        size: (H, W).

    Raises:
        DatasetError: an odd number of coordinates, or fewer than three corners.
    """
    if len(ring) < 6 or len(ring) % 2:
        raise DatasetError(f"a polygon of {len(ring)} coordinates; expected x, y of three corners or more")
    corners = np.asarray(ring, np.float64).reshape(-1, 2)
    following = np.roll(corners, -1, 0)
    upper = np.where((corners[:, 1] <= following[:, 1])[:, None], corners, following)
    lower = np.where((corners[:, 1] <= following[:, 1])[:, None], following, corners)
    centres = np.arange(size[0]) + 0.5
    # [E, H]: does an edge cross the line through a row's centres? Its upper end counts and its lower end does not, so
    # that a corner on the line is crossed once.
    crosses = (upper[:, 1, None] <= centres) & (centres < lower[:, 1, None])
    edge, row = crosses.nonzero()
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    at = upper[edge, 0] + (centres[row] - upper[edge, 1]) * slope
    first = np.clip(np.ceil(at - 0.5), 0, size[1]).astype(np.int64)  # the first pixel whose centre is not left of it
    flips = np.zeros((size[0], size[1] + 1), np.int64)
    np.add.at(flips, (row, first), 1)
    return (flips[:, :-1].cumsum(1) & 1).astype(np.bool_)
