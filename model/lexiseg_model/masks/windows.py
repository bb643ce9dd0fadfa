"""Sliding windows: where they lie on an image, and the mean of their scores where they overlap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError, ShapeError
from lexiseg_model.features import Layout


def place_windows(canvas: tuple[int, int], crop: int | tuple[int, int], stride: int | tuple[int, int]) -> Layout:
    """The grid of mmsegmentation's sliding inference.

    Along each axis there are max(length - crop + stride - 1, 0) // stride + 1 windows, `stride` apart; the last ones
    are shifted back to end with the canvas, and a window is as small as the canvas where that is smaller.

    Args:
        canvas: (height, width) in pixels.
        crop: side of a window, or (height, width).
        stride: step between windows, or (down, across).

    Returns:
        Windows row by row.

    Raises:
        OptionError: a length below 1, or a stride beyond the crop: it would leave gaps.
    """
    crops, strides = _pair(crop), _pair(stride)
    if min(*canvas, *crops, *strides) < 1:
        raise OptionError(f"canvas {canvas}, windows {crops} and strides {strides}; every length is at least 1")
    if strides[0] > crops[0] or strides[1] > crops[1]:
        raise OptionError(f"strides {strides} beyond windows {crops} leave gaps")
    tile = (min(crops[0], canvas[0]), min(crops[1], canvas[1]))
    tops, lefts = (
        [min(index * step, length - side) for index in range(max(length - side + step - 1, 0) // step + 1)]
        for length, side, step in zip(canvas, tile, strides, strict=True)
    )
    return Layout(canvas, tile, tuple((top, left) for top in tops for left in lefts))


def cut(image: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """The windows' pixels: [C, H, W] -> [N, C, h, w].

    Raises:
        ShapeError: the image is not of the canvas's size.
    """
    if image.shape[1:] != layout.canvas:
        raise ShapeError(f"windows over {layout.canvas}, an image of {image.shape[1:]}")
    height, width = layout.tile
    return np.stack([image[:, top : top + height, left : left + width] for top, left in layout.offsets])


def merge(scores: Iterable[Tensor], layout: Layout) -> Tensor:
    """Mean over the windows that cover each pixel: sum of their scores, divided by how many they are.

    Args:
        scores: [K, h, w] of each window, in order, at the window's size; consumed one by one.
        layout: where they lie.

    Returns:
        [K, H, W] over the canvas, float32.

    Raises:
        ShapeError: scores of another size than the windows', or not one for each window.
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
        raise ShapeError(f"scores for {count} windows where there are {len(layout.offsets)}")
    return total.div_(hit_count(layout).to(total.device))


def hit_count(layout: Layout) -> Tensor:
    """[H, W] float32: how many windows cover each pixel."""
    hits = torch.zeros(layout.canvas)
    for top, left in layout.offsets:
        hits[top : top + layout.tile[0], left : left + layout.tile[1]] += 1
    return hits


def _pair(length: int | tuple[int, int]) -> tuple[int, int]:
    return (length, length) if isinstance(length, int) else length
