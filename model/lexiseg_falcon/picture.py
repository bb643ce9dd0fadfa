"""The network's input of an image, as the released code makes it, and the canvas on which AnyUp works."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CANVAS_STEP = 256  # pixels: AnyUp runs on squares of multiples of it


def input_size(size: tuple[int, int], least: int, most: int, multiple: int, max_pixels: int) -> list[tuple[int, int]]:
    """The sizes (height, width) to which an image is resized, one after another.

    Args:
        size: height and width of the image.
        least: the shorter side is enlarged to it, unless the longer one becomes larger than `most`.
        most: pixels of the longer side.
        multiple: of which the last sides are multiples.
        max_pixels: most pixels of the last size.
    """
    fitted = _fitted(size, min(least, most), most)
    height, width = (round(side / multiple) * multiple for side in fitted)
    if height * width > max_pixels:
        factor = math.sqrt(fitted[0] * fitted[1] / max_pixels)
        height, width = (math.floor(side / factor / multiple) * multiple for side in fitted)
    last = max(height, multiple), max(width, multiple)
    return [fitted, last] if fitted != size else [last]


def resized(rgb: NDArray[np.uint8], sizes: list[tuple[int, int]]) -> NDArray[np.uint8]:
    """The image [H, W, 3] after resizing it to each of the sizes: [3, h, w]."""
    image = Image.fromarray(rgb)
    for height, width in sizes:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def canvas_side(size: tuple[int, int]) -> int:
    """Side of the square that holds an input of that size."""
    return -(-max(size) // CANVAS_STEP) * CANVAS_STEP


def _fitted(size: tuple[int, int], least: int, most: int) -> tuple[int, int]:
    """Sides within `least` and `most` where the ratio allows it; `most` wins."""
    if least <= min(size) and max(size) <= most:
        return size
    height, width = size
    ratio = width / height
    bound = least if min(size) < least else most
    # Of an image that is too large the shorter side becomes `most` first, and then the longer one.
    width, height = (bound, int(bound / ratio)) if height > width else (int(bound * ratio), bound)
    if width > most:
        width, height = most, int(most / ratio)
    if height > most:
        width, height = int(most * ratio), most
    return max(height, 1), max(width, 1)
