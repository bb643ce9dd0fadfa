"""A mask's logits cut at 0, at the size of the image, as runs down the columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import calls as compiled
from lexiseg_model.kernel import library
from lexiseg_model.masks.bilinear import axes, axis, bands

# [N, 2] where runs of a mask begin and end (one past), as places y + x * H of an image H pixels high; ascending, apart.
Spans = NDArray[np.int64]


def cut(logits: NDArray[np.float32], size: tuple[int, int]) -> Spans:
    """Upsample a mask bilinearly (align_corners=False) and give the runs of what is not below 0.

    Interpolated along the rows, then down the columns, in float32. The kernel finds the crossings of 0 between
    low-resolution rows, at the cost of the outline; numpy looks at every pixel.

    Args:
        logits: [h, w], finite.
        size: (H, W) of the image.

    Returns:
        Runs; a run that reaches the lower edge goes on into the next column where that begins inside.
    """
    if library.ready():
        return compiled.cut(logits, axes((logits.shape[0], logits.shape[1]), size))
    corners = np.pad(logits, ((0, 1), (0, 1)), mode="edge")  # each cell has four
    y, x = axis(logits.shape[0], size[0]), axis(logits.shape[1], size[1])
    values = (np.diff(corners, axis=1)[:, x.low] * x.weight + corners[:, x.low]).T  # [W, h + 1]
    inside = np.zeros(size[1] * size[0] + 2, np.bool_)  # between two places outside
    for columns in bands((size[1], size[0])):
        step = np.diff(values[columns], axis=1)
        pixels = values[columns][:, y.low] + y.weight * step[:, y.low]
        inside[1 + columns.start * size[0] : 1 + columns.stop * size[0]] = (pixels >= 0).reshape(-1)
    spans: Spans = np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2)
    return spans
