"""The network's input of an image, and what is kept of the image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.cards import InputSize
from lexiseg_model.kernel import library

KEPT = 2  # largest side of the picture kept for small objects, in sides of the input


def input_shape(size: tuple[int, int], limits: InputSize, max_side: int | None) -> tuple[int, int]:
    """The input shape (height, width) for an image of `size` (H, W); sides are rounded to multiples, not padded."""
    long_side = limits.long_side
    if max_side is not None:  # a multiple, or rounding could exceed the cap
        long_side = min(long_side, max_side // limits.multiple * limits.multiple)
    factor = min(limits.short_side / min(size), long_side / max(size))
    height, width = (max(limits.multiple, round(side * factor / limits.multiple) * limits.multiple) for side in size)
    return height, width


def resize_to(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image uint8 [H, W, 3] to planes [3, h, w] of `size` (h, w)."""
    (rows, columns), (height, width) = size, rgb.shape[:2]
    smaller = rows * columns < height * width
    is_whole = height % rows == 0 and width % columns == 0  # OpenCV rounds in another way there
    if smaller and rows <= height and columns <= width and not is_whole and library.ready():
        return library.shrunk(rgb, size)
    resized = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def kept_picture(rgb: NDArray[np.uint8], tile: tuple[int, int]) -> NDArray[np.uint8]:
    """A copy of the image [H, W, 3], shrunk to KEPT times the sides of its tile if it is larger."""
    height, width = (KEPT * side for side in tile)
    if height * width >= rgb.shape[0] * rgb.shape[1]:
        return rgb.copy()
    # Every request pays for this: area averaging only where it matters.
    is_near = 2 * height >= rgb.shape[0] and 2 * width >= rgb.shape[1]
    method = cv2.INTER_LINEAR if is_near else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)


def halved(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of each 2 x 2 pixels: uint8 [3, h, w] of even sides -> [3, h/2, w/2]; halves are rounded to even."""
    rows = planes[:, 0::2].astype(np.uint16) + planes[:, 1::2]
    sums = rows[..., 0::2] + rows[..., 1::2]
    means: NDArray[np.uint8] = ((sums + 1 + (sums >> 2 & 1)) >> 2).astype(np.uint8)
    return means


def buckets(limits: InputSize) -> tuple[tuple[int, int], ...]:
    """All input shapes (height, width) of images with an aspect ratio up to long_side / short_side (2.2 for tiny)."""
    wide = [(limits.short_side, side) for side in range(limits.short_side, limits.long_side + 1, limits.multiple)]
    return tuple(sorted({*wide, *((width, height) for height, width in wide)}))
