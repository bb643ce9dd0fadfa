"""Encoded bytes to RGB pixels: JPEG by libjpeg-turbo at a reduced DCT scale, WebP by OpenCV, everything else by Pillow.

Where the operator wants it, JPEG is decoded on a GPU (`jpeg`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.kernel.aside import aside
from lexiseg_model.types import ModelCard
from lexiseg_service.errors import UndecodableImage
from lexiseg_service.image.header import SIDEWAYS, BoundedReader, ImageHeader, read_header, refusing_swarms
from lexiseg_service.image.many_parts import check_whole
from lexiseg_service.settings import Limits

Decoder = Literal["cpu", "nvjpeg"]
CPU: Decoder = "cpu"
# A file, the sampling of its chroma, (height, width) as stored and the least of it that is wanted, to its pixels as
# stored; None of what the CPU is to decode.
OnDevice = Callable[[bytes, str, tuple[int, int], tuple[int, int]], NDArray[np.uint8] | None]
OF_FAST_DECODER = ("RGB", "L")  # what Pillow calls pictures that the fast decoder of JPEG takes unless they are damaged
BAND = 2**19  # pixels that are brought to RGB at a time
MOST_READS = 100_000  # of a whole file: 20 MB in PNG chunks of 1 KiB take 60,000


@dataclass(frozen=True)
class Decoded:
    """`rgb` [h, w, 3] upright; may be smaller than `size`, the (height, width) of the image as sent. `by` whom."""

    rgb: NDArray[np.uint8]
    size: tuple[int, int]
    by: Decoder = "cpu"


def shortest_of(card: ModelCard) -> int:
    """Pixels of the shorter side that are all that a model's network is shown."""
    return 2 * card.input.short_side


def decode(image: bytes, limits: Limits, shortest: int | None, on_device: OnDevice | None = None) -> Decoded:
    """Decodes a still image.

    Args:
        image: the file.
        limits: checked on the header, before decoding.
        shortest: the shorter side need not have more pixels than this, and JPEG decoding does less work; None keeps
            them all.
        on_device: decodes those JPEGs that it takes.

    Raises:
        ServiceError: as `read_header`; UndecodableImage when the pixels are damaged.
    """
    header = read_header(image, limits)
    rgb, by = _decode_jpeg(image, header, shortest, on_device) if header.format == "JPEG" else (None, CPU)
    if header.format == "WEBP":
        rgb = aside(_decode_webp, image)
        if rgb is not None and rgb.shape[:2] != _as_stored(header):
            rgb = None
    if rgb is None:
        rgb = _decode_pillow(image, header, shortest)
    return Decoded(np.ascontiguousarray(_upright(rgb, header.orientation)), header.size, by)


def _decode_jpeg(
    image: bytes, header: ImageHeader, shortest: int | None, on_device: OnDevice | None
) -> tuple[NDArray[np.uint8] | None, Decoder]:
    """The pixels, and by whom; none where the fast decoder does not manage: the thorough one then decides."""
    height, width = _as_stored(header)
    least = _least(header, shortest)
    try:
        *_, colours, sampling = simplejpeg.decode_jpeg_header(image)
        if colours not in ("YCbCr", "Gray", "RGB"):
            return None, CPU
        if on_device is not None and colours == "YCbCr":
            there = on_device(image, sampling, (height, width), least)
            if there is not None:
                return there, "nvjpeg"
        # min_height and min_width choose the smallest DCT scale that still has as many pixels.
        decoded: NDArray[np.uint8] = aside(
            simplejpeg.decode_jpeg, image, "RGB", min_height=least[0], min_width=least[1]
        )
    except ValueError:
        return None, CPU
    return decoded, CPU


def _as_stored(header: ImageHeader) -> tuple[int, int]:
    return header.size if header.orientation not in SIDEWAYS else header.size[::-1]


def _least(header: ImageHeader, shortest: int | None) -> tuple[int, int]:
    """(height, width) as stored that are enough."""
    height, width = _as_stored(header)
    factor = 1.0 if shortest is None else min(1.0, shortest / min(height, width))
    return round(height * factor), round(width * factor)


def _decode_pillow(image: bytes, header: ImageHeader, shortest: int | None) -> NDArray[np.uint8]:
    with refusing_swarms(header.format):
        check_whole(image, header.format)
    stored = _as_stored(header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BoundedReader(image, MOST_READS), formats=[header.format]) as picture:
                if header.format == "JPEG" and picture.mode in OF_FAST_DECODER and picture.size == stored[::-1]:
                    # Damaged, and yet to be seen: it shall take no longer than one that is whole.
                    picture.draft(None, _least(header, shortest)[::-1])
                    stored = picture.size[::-1]
                rgb = aside(_to_rgb, picture)
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise UndecodableImage(
            f"image: {header.format} data is damaged or cut short ({type(error).__name__})"
        ) from None
    if rgb.shape[:2] != stored:
        raise UndecodableImage(f"image: {header.format} data of another size than its header says")
    return rgb


def _decode_webp(image: bytes) -> NDArray[np.uint8] | None:
    """None where OpenCV does not manage. Pillow, with the same library behind it, copies the pixels three times, once
    with Python's lock."""
    with suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim != 3:
            return None
        if pixels.shape[2] == 3:
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels).astype(np.uint8, copy=False)
        rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
        for rows in _bands(*pixels.shape[:2]):
            rgb[rows] = _over_white(Image.fromarray(cv2.cvtColor(pixels[rows], cv2.COLOR_BGRA2RGBA)))
        return rgb
    return None


def _bands(height: int, width: int) -> Iterator[slice]:
    """Rows that are brought to RGB at a time."""
    rows = max(1, BAND // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Any mode to [H, W, 3]; what is transparent becomes white.

    In bands: each way on from what the decoder made would be one more picture of 40 megapixels, and most go through
    several.
    """
    picture.load()
    width, height = picture.size
    to_rgb = _way_to_rgb(picture)
    rgb = np.empty((height, width, 3), np.uint8)
    for rows in _bands(height, width):
        rgb[rows] = to_rgb(picture.crop((0, rows.start, width, rows.stop)))
    return rgb


def _way_to_rgb(picture: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """From a band of the picture, [h, W, 3] or [h, W, 1]."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        return _of_deep
    if picture.mode == "F":
        return partial(_of_real, scale=255.0 if _brightest(picture) <= 1 else 1.0)
    return _over_white if picture.has_transparency_data else _of_colours


def _of_deep(band: Image.Image) -> NDArray[np.uint8]:
    deep = np.asarray(band).astype(np.int64).clip(0, 65535)
    return (deep >> 8).astype(np.uint8)[..., None]


def _brightest(picture: Image.Image) -> float:
    """Of real numbers, among which there may be anything."""
    width, height = picture.size
    bands = (picture.crop((0, rows.start, width, rows.stop)) for rows in _bands(height, width))
    return max(float(np.nan_to_num(np.asarray(band)).max(initial=0)) for band in bands)


def _of_real(band: Image.Image, scale: float) -> NDArray[np.uint8]:
    gray: NDArray[np.float32] = np.nan_to_num(np.asarray(band)) * scale
    return gray.clip(0, 255).astype(np.uint8)[..., None]


def _over_white(band: Image.Image) -> NDArray[np.uint8]:
    layer = band.convert("RGBA")
    return _of_colours(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer))


def _of_colours(band: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(band.convert("RGB"))


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undoes an EXIF orientation (1 to 8; EXIF 2.3, tag 0x0112)."""
    if orientation in SIDEWAYS:
        rgb = rgb.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return rgb
