"""An answer as a picture: what notebooks show of it."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.answers.masks import NotAsked
from lexiseg_client.pictures import png
from lexiseg_client.pictures.images import PillowImage

if TYPE_CHECKING:
    from lexiseg_client.answers.segmentation import Segmentation
    from lexiseg_client.pictures.images import ImageLike

LONGEST_SIDE = 1280  # pixels of what is shown; a notebook keeps every picture
OPACITY = 0.5


def picture(answer: Segmentation) -> bytes | None:
    """A PNG: the server's overlay, else the segments painted on the image, else on white.

    None where there are no masks. The image is read again from where it came; a file of another type than PNG needs
    Pillow. One that is gone, or another one by now, is white.
    """
    if answer.overlay is not None:
        return answer.overlay
    if answer.segments and all(isinstance(segment.shape, NotAsked) for segment in answer.segments):
        return None
    pixels = pixels_of(answer.image)
    if pixels is None or pixels.shape[:2] != answer.size:
        pixels = np.full((*answer.size, 3), 255, np.uint8)
    painted = answer.paint(pixels, OPACITY)
    step = -(-max(answer.size) // LONGEST_SIDE)
    return png.encode(painted[::step, ::step])


def pixels_of(image: ImageLike | None) -> NDArray[np.uint8] | None:
    """[H, W, 3] RGB upright, of an image that is here and can be read."""
    if isinstance(image, np.ndarray):
        return _eight_bits(image)
    if importlib.util.find_spec("PIL") is None:
        return None
    from PIL import Image, ImageOps  # optional: only notebooks want it

    try:
        if isinstance(image, PillowImage):
            return np.asarray(image.convert("RGB"))
        if isinstance(image, (bytes, bytearray, memoryview)):
            opened: Any = Image.open(io.BytesIO(bytes(image)))
        elif isinstance(image, (str, os.PathLike)) and "://" not in str(image):
            opened = Image.open(Path(image))
        else:
            return None
        with opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # a type that Pillow does not know, a file that is gone
        return None


def _eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8] | None:
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    elif pixels.dtype == bool:
        pixels = pixels * 255
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 2)):
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], -1)[..., :1], 3, 2)
    return pixels[..., :3].astype(np.uint8) if pixels.ndim == 3 and pixels.shape[2] >= 3 else None
