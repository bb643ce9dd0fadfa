"""Render segments: label maps, overlays on the image, mask PNG files, the picture in a notebook."""

from __future__ import annotations

import colorsys
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import MissingLibrary, NoViewer
from lexiseg_labels.masks import png
from lexiseg_labels.segments import LabelMap, Segment, best_masks

OUTLINE = 0.35  # brightness of outlines relative to the overlay
FAINT = 0.4  # opacity of doubtful segments relative to that of others
MAX_LABEL = 60  # characters of a label in a file name
PNG = ".png"
PIL_FORMATS = {PNG: "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}  # suffixes, and Pillow's names
INSTEAD = "write it to a file by save(path)"
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
MAX_SIDE = 1280  # pixels of a notebook's picture, which is stored in the notebook
COUNT = 256  # of different colours
GOLDEN_ANGLE = 0.381966  # of the colour circle, so that neighbours in the class list differ


def label_map(segments: Sequence[Segment], size: tuple[int, int]) -> LabelMap:
    """Segment ids [H, W], uint8 or, above 255, uint16; 0 = no segment."""
    highest = max((segment.id for segment in segments), default=0)
    ids: LabelMap = np.zeros(size, np.uint8 if highest < 256 else np.uint16)
    for segment in reversed(best_masks(segments)):  # where masks of prompts overlap, the first prompt wins
        ids[segment.shape.pixels()] = segment.id  # not `.mask`, which caches the decoded mask
    return ids


def paint(segments: Sequence[Segment], ids: LabelMap, pixels: NDArray[Any], opacity: float) -> NDArray[np.uint8]:
    """See `Segmentation.paint`; `ids` is the label map [H, W]."""
    size = ids.shape
    if pixels.dtype != np.uint8 or pixels.shape not in (size, (*size, 3)):
        raise ValueError(
            f"expected uint8 pixels of {list(size)} or {[*size, 3]}, got {pixels.dtype} {list(pixels.shape)}"
        )
    palette = np.zeros((max((segment.id for segment in segments), default=0) + 1, 4), np.float32)  # and opacity
    for position, segment in enumerate(segments):
        index = position if segment.class_index is None else segment.class_index
        palette[segment.id] = *colour(index), opacity * (FAINT if segment.doubtful else 1)
    canvas = np.broadcast_to(pixels if pixels.ndim == 3 else pixels[..., None], (*size, 3)).astype(np.float32)
    colours = palette[ids]  # [H, W, 4]
    canvas += colours[..., 3:] * (colours[..., :3] - canvas)
    edges = contours(ids)
    canvas[edges] = OUTLINE * canvas[edges]
    painted: NDArray[np.uint8] = canvas.round().astype(np.uint8)
    return painted


def contours(ids: LabelMap) -> NDArray[np.bool_]:
    """Pixels [H, W] of a label map that differ from the one on the left or above."""
    edges = np.zeros(ids.shape, bool)
    edges[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edges[1:] |= ids[1:] != ids[:-1]
    return edges


def save_masks(segments: Sequence[Segment], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for segment in segments:
        # Labels are user input: keep the path inside the folder.
        label = re.sub(r"[^\w-]+", "-", segment.label or "").strip("-")[:MAX_LABEL]
        path = folder / (f"{segment.id}-{label}.png" if label else f"{segment.id}.png")
        path.write_bytes(png.encode(segment.shape.pixels().astype(np.uint8) * np.uint8(255)))
        paths.append(path)
    return paths


def notebook_png(painted: NDArray[np.uint8]) -> bytes:
    """Encode a painted image as a PNG, subsampled to at most `MAX_SIDE` pixels a side."""
    step = -(-max(painted.shape[:2]) // MAX_SIDE)
    return png.encode(painted[::step, ::step])


def encoded(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """RGB pixels [H, W, 3] as a file of one of the suffixes `PIL_FORMATS`."""
    if suffix == PNG:
        return png.encode(pixels)
    try:
        from PIL import Image
    except ImportError:
        raise MissingLibrary(f"{suffix} needs Pillow: pip install pillow, or save as {PNG}") from None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, PIL_FORMATS[suffix], quality=90)
    return buffer.getvalue()


def show(picture: bytes) -> None:
    """Show a PNG in the notebook that runs this code, else in the system's viewer, which Pillow finds."""
    if "ipykernel" in sys.modules:
        display = importlib.import_module("IPython.display")
        display.display(display.Image(picture))
        return
    try:
        from PIL import Image, ImageShow
    except ImportError:
        raise MissingLibrary(f"a viewer needs Pillow: pip install pillow, or {INSTEAD}") from None
    if sys.platform not in ("darwin", "win32") and not any(os.environ.get(name) for name in DISPLAYS):
        raise NoViewer(f"there is no display ({' and '.join(DISPLAYS)} are not set): {INSTEAD}")
    with Image.open(io.BytesIO(picture)) as image:
        if not ImageShow.show(image):
            raise NoViewer(f"no program to show pictures is installed: {INSTEAD}")


def pixels_of(image: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Upright RGB pixels [H, W, 3] of a path, a file's bytes, pixels, or a Pillow image.

    White if Pillow is not installed, the image cannot be read, or its size (H, W) differs.
    """
    white = np.full((*size, 3), 255, np.uint8)
    try:
        pixels = _rgb(image)
    except (ImportError, OSError, ValueError, SyntaxError, TypeError):  # no Pillow, no image, or a file that is gone
        return white
    return white if pixels is None or pixels.shape[:2] != size else pixels


def _rgb(image: Any) -> NDArray[np.uint8] | None:
    from PIL import Image, ImageOps  # an optional library

    if isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)):
        with Image.open(io.BytesIO(image) if isinstance(image, (bytes, bytearray, memoryview)) else image) as picture:
            image = ImageOps.exif_transpose(picture)
    if isinstance(image, Image.Image) and image.mode.startswith("I;16"):  # `convert` cuts these off at 255
        image = np.asarray(image)
    if isinstance(image, np.ndarray):
        eight_bits = image >> 8 if image.itemsize == 2 else image * 255 if image.dtype == bool else image
        image = Image.fromarray(np.squeeze(eight_bits.astype(np.uint8)))
    return np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else None  # masks fit it as given


def colour(index: int) -> tuple[int, int, int]:
    """RGB of the index-th class, 0 to 255 each."""
    place = index % COUNT
    lightness = (0.55, 0.42, 0.68)[place % 3]
    red, green, blue = colorsys.hls_to_rgb((0.58 + place * GOLDEN_ANGLE) % 1.0, lightness, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)
