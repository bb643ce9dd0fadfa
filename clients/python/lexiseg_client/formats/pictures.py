"""Label maps, painted pictures and PNG files made of segments."""

from __future__ import annotations

import colorsys
import importlib.util
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.images import PillowImage
from lexiseg_client.masks import png
from lexiseg_client.segments import LabelMap, Segment, drawn

if TYPE_CHECKING:
    from lexiseg_client.images import ImageLike

GOLDEN_RATIO = 0.618034  # of the colour circle: any two neighbours in the class list look apart
OUTLINE = 0.35  # brightness of outlines against the colour
MAX_LABEL = 60  # characters of a label in a file's name
MAX_SIDE = 1280  # pixels of a picture in a notebook, which keeps every one


def label_map(segments: Sequence[Segment], size: tuple[int, int]) -> LabelMap:
    """[H, W] ids of uint8, or of uint16 where they do not fit."""
    highest = max((segment.id for segment in segments), default=0)
    ids: LabelMap = np.zeros(size, np.uint8 if highest < 256 else np.uint16)
    for segment in reversed(drawn(segments)):  # where those of prompts overlap, the first is on top
        ids[segment.shape.pixels()] = segment.id  # not `.mask`: that would keep every mask as long as the answer
    return ids


def colour(index: int) -> tuple[int, int, int]:
    """RGB of a class, the same for the same index."""
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def paint(segments: Sequence[Segment], ids: LabelMap, pixels: NDArray[Any], opacity: float) -> NDArray[np.uint8]:
    """See `Segmentation.paint`; `ids` is the label map [H, W]."""
    size = ids.shape
    if pixels.dtype != np.uint8 or pixels.shape not in (size, (*size, 3)):
        raise ValueError(
            f"expected uint8 pixels of {list(size)} or {[*size, 3]}, got {pixels.dtype} {list(pixels.shape)}"
        )
    table = np.zeros((max((segment.id for segment in segments), default=0) + 1, 3), np.float32)
    for position, segment in enumerate(segments):
        table[segment.id] = colour(position if segment.class_index is None else segment.class_index)
    canvas = np.broadcast_to(pixels if pixels.ndim == 3 else pixels[..., None], (*size, 3)).astype(np.float32)
    owned = ids > 0
    colours = table[ids]  # [H, W, 3]
    canvas[owned] += opacity * (colours - canvas)[owned]
    border = np.zeros(size, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    canvas[border] = OUTLINE * canvas[border]
    painted: NDArray[np.uint8] = canvas.round().astype(np.uint8)
    return painted


def save_masks(segments: Sequence[Segment], folder: Path) -> list[Path]:
    """See `Segmentation.save_masks`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for segment in segments:
        # A label is a user's string: nothing of it may lead out of the folder.
        label = re.sub(r"[^\w-]+", "-", segment.label or "").strip("-")[:MAX_LABEL]
        path = folder / (f"{segment.id}-{label}.png" if label else f"{segment.id}.png")
        path.write_bytes(png.encode(segment.shape.pixels().astype(np.uint8) * np.uint8(255)))
        paths.append(path)
    return paths


def notebook_png(painted: NDArray[np.uint8]) -> bytes:
    """A painted image as a PNG of at most `MAX_SIDE` pixels a side."""
    step = -(-max(painted.shape[:2]) // MAX_SIDE)
    return png.encode(painted[::step, ::step])


def pixels_of(image: ImageLike | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    """[H, W, 3] RGB upright of an image; white where it cannot be read any more or has another size.

    An image file needs Pillow.
    """
    pixels = _eight_bits(image) if isinstance(image, np.ndarray) else _opened(image)
    if pixels is None or pixels.shape[:2] != size:
        return np.full((*size, 3), 255, np.uint8)
    return pixels


def _opened(image: ImageLike | None) -> NDArray[np.uint8] | None:
    if importlib.util.find_spec("PIL") is None:
        return None
    from PIL import Image, ImageOps  # an optional library

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
