"""A mask's logits cut at 0, at the size of the image: only over the part that can lie inside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.masks.bilinear import Axis, axis, bands, interpolate


class Part(NamedTuple):
    """A mask without its empty surroundings: `mask` [h, w], its left top pixel at `offset` (x, y) of the image."""

    mask: NDArray[np.bool_]
    offset: tuple[int, int]


def cut(logits: NDArray[np.float32], size: tuple[int, int]) -> Part:
    """Bilinear upsampling (align_corners=False) of a mask, and what of it is not below 0.

    Between low-resolution corners that are all below 0 nothing reaches it, so only the rectangle around the others is
    computed, a band of rows at a time.

    Args:
        logits: [h, w].
        size: (H, W) of the image.

    Returns:
        A part that holds every pixel of the mask; empty, [0, 0], where there are none.
    """
    y = _within(axis(logits.shape[0], size[0]), logits.max(1))
    x = _within(axis(logits.shape[1], size[1]), logits.max(0))
    if y is None or x is None:
        return Part(np.zeros((0, 0), np.bool_), (0, 0))
    (top, rows), (left, columns) = y, x
    padded = np.pad(logits, ((0, 1), (0, 1)), mode="edge")  # every cell has four corners
    cells = slice(columns.low[0], columns.low[-1] + 2)
    columns = Axis(columns.low - columns.low[0], columns.weight)
    mask = np.empty((len(rows.low), len(columns.low)), np.bool_)
    for band in bands(mask.shape):
        some = Axis(rows.low[band], rows.weight[band])
        np.greater_equal(
            interpolate(padded[some.low, cells], padded[some.low + 1, cells], some, columns), 0, out=mask[band]
        )
    return Part(mask, (left, top))


def _within(positions: Axis, highest: NDArray[np.float32]) -> tuple[int, Axis] | None:
    """The output positions from the first to the last with a corner that reaches 0, and where these begin."""
    corners = np.flatnonzero(highest >= 0)
    if not len(corners):
        return None
    first = int(np.searchsorted(positions.low, corners[0] - 1))
    last = int(np.searchsorted(positions.low, corners[-1], side="right"))
    if first == last:  # a smaller image than the mask: no pixel lies there
        return None
    return first, Axis(positions.low[first:last], positions.weight[first:last])
