"""What lone points say of every cell, compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call

BY_LANES = 16  # numbers of a pixel are a multiple of this


def lone_points(
    points: NDArray[np.float32],
    stride: int,
    scales: Sequence[float],
    grouping: NDArray[np.float32],
    heads: int,
    pixels: NDArray[np.float32],
    corners: NDArray[np.int64],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """[N, len(scales) + 1 + heads + 1, rows, columns] of some cells for each: traces, ones, and how alike a cell is by
    each head and by its pixels.

    Args:
        points: [N, 2] (x, y) in pixels of the network's input.
        stride: pixels of a cell.
        scales: pixels at which a trace has fallen to 1/e.
        grouping: [heads * D, h, w], unit vectors of D.
        heads: of them.
        pixels: [h, w, E], unit vectors; E is a multiple of BY_LANES.
        corners: [N, 2], row and column of the first of the cells that each point speaks of.
        size: rows and columns of these cells, which lie within the h x w.
    """
    depth, height, width = len(grouping) // heads, *grouping.shape[1:]
    said = np.empty((len(points), len(scales) + heads + 2, *size), np.float32)
    points, grouping, pixels = (np.ascontiguousarray(part, np.float32) for part in (points, grouping, pixels))
    numbers = np.array(scales, np.float32)
    call(
        "lone_points",
        *(points, np.ascontiguousarray(corners, np.int64), len(points), stride, numbers, len(numbers)),
        *(grouping, heads, depth, pixels, pixels.shape[2], height, width, *size, said),
    )
    return said
