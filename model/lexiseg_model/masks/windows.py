"""Sliding windows: place them on an image, crop it, and average their scores where they overlap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError, ShapeError
from lexiseg_model.features import Layout


def place_windows(canvas: tuple[int, int], crop: int | tuple[int, int], stride: int | tuple[int, int]) -> Layout:
    """Place windows in the grid of mmsegmentation's sliding inference.

    Along each axis there are max(length - crop + stride - 1, 0) // stride + 1 windows, `stride` apart; the last ones
    are shifted back to end with the canvas, and windows are clipped to a smaller canvas.

    Args:
        canvas: (height, width) in pixels.
        crop: side of a window, or (height, width).
        stride: step between windows, or (vertical, horizontal) steps.

    Returns:
        Windows row by row.

    Raises:
        OptionError: a length is below 1, or a stride exceeds the crop, which would leave gaps.
    """
    crops, strides = _pair(crop), _pair(stride)
    if min(*canvas, *crops, *strides) < 1:
        raise OptionError(f"canvas {canvas}, windows {crops} and strides {strides}; every length must be at least 1")
    if strides[0] > crops[0] or strides[1] > crops[1]:
        raise OptionError(f"strides {strides} larger than windows {crops} leave gaps")
    tile = (min(crops[0], canvas[0]), min(crops[1], canvas[1]))
    tops, lefts = (
        [min(index * step, length - side) for index in range(max(length - side + step - 1, 0) // step + 1)]
        for length, side, step in zip(canvas, tile, strides, strict=True)
    )
    return Layout(canvas, tile, tuple((top, left) for top in tops for left in lefts))


def cut(image: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Crop an image [C, H, W] to N windows [N, C, h, w].

    Raises:
        ShapeError: the image does not have the canvas's size.
    """
    if image.shape[1:] != layout.canvas:
        raise ShapeError(f"windows over {layout.canvas}, an image of {image.shape[1:]}")
    height, width = layout.tile
    return np.stack([image[:, top : top + height, left : left + width] for top, left in layout.offsets])


def merge(scores: Iterable[Tensor], layout: Layout) -> Tensor:
    """Average the scores of all windows that cover each pixel.

    Args:
        scores: [K, h, w] of each window, in order, at the window's size; consumed one by one.
        layout: of the windows.

    Returns:
        [K, H, W] over the canvas, float32.

    Raises:
        ShapeError: scores have another size than the windows, or their number differs.
    """
    total: Tensor | None = None
    count = 0
    height, width = layout.tile
    for score in scores:
        count += 1
        if count > len(layout.offsets):
            break
        if score.ndim != 3 or tuple(score.shape[1:]) != layout.tile:
            raise ShapeError(f"windows of {layout.tile}, scores {list(score.shape)}")
        if total is None:
            total = score.new_zeros((score.shape[0], *layout.canvas), dtype=torch.float32)
        top, left = layout.offsets[count - 1]
        total[:, top : top + height, left : left + width] += score
    if total is None or count != len(layout.offsets):
        raise ShapeError(f"scores for {count} windows; expected {len(layout.offsets)}")
    return total.div_(hit_count(layout).to(total.device))


def hit_count(layout: Layout) -> Tensor:
    """The number of windows that cover each pixel: [H, W] float32."""
    hits = torch.zeros(layout.canvas)
    for top, left in layout.offsets:
        hits[top : top + layout.tile[0], left : left + layout.tile[1]] += 1
    return hits


def _pair(length: int | tuple[int, int]) -> tuple[int, int]:
    return (length, length) if isinstance(length, int) else length
