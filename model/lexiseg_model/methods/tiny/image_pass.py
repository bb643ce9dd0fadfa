"""The tiles of `tiny`: which shapes its image pass takes, and how a picture is brought to one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.types import InputSize


def fitted(size: tuple[int, int], limits: InputSize, max_side: int | None) -> tuple[int, int]:
    """The input shape (height, width) for an image of `size`; sides are rounded, not padded."""
    long_side = limits.long_side
    if max_side is not None:  # whole multiples of it, or rounding could go beyond the cap
        long_side = min(long_side, max_side // limits.multiple * limits.multiple)
    factor = min(limits.short_side / min(size), long_side / max(size))
    height, width = (max(limits.multiple, round(side * factor / limits.multiple) * limits.multiple) for side in size)
    return height, width


def first(batched: Tensor) -> Tensor:
    """The first of a batch; a view of more would keep that in memory for as long as the image is remembered."""
    return batched[0] if batched.untyped_storage().nbytes() == batched[0].nbytes else batched[0].clone()


def brought_to(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] -> planes [3, h, w] of that size."""
    smaller = size[0] * size[1] < rgb.shape[0] * rgb.shape[1]
    resized = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def halved(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The guide of refinements: means of 2 x 2 pixels, [N, 2h, 2w] -> [N, h, w]; ties go to the even number."""
    across = planes[:, :, ::2].astype(np.uint16) + planes[:, :, 1::2]
    total = across[:, ::2] + across[:, 1::2]
    means: NDArray[np.uint8] = ((total + 1 + (total >> 2 & 1)) >> 2).astype(np.uint8)
    return means


def buckets(limits: InputSize) -> tuple[tuple[int, int], ...]:
    """Every input shape (height, width) of images up to `long_side / short_side` times as long as wide, 2.2 for tiny.

    Longer ones, panoramas and the like, have shapes of their own: their first image pass takes a little more.
    """
    wide = [(limits.short_side, side) for side in range(limits.short_side, limits.long_side + 1, limits.multiple)]
    return tuple(sorted({*wide, *((width, height) for height, width in wide)}))
