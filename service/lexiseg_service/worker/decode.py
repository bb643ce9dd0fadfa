"""Encoded bytes to RGB pixels: JPEG by libjpeg-turbo at a reduced DCT scale, everything else by Pillow.

Where the operator wants it, JPEG is decoded on a GPU (`jpeg`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.kernel.aside import aside
from lexiseg_model.types import ModelCard
from lexiseg_service.errors import UndecodableImage
from lexiseg_service.image.header import SIDEWAYS, BoundedReader, ImageHeader, read_header
from lexiseg_service.settings import Limits

Decoder = Literal["cpu", "nvjpeg"]
CPU: Decoder = "cpu"
# A file, the sampling of its chroma, (height, width) as stored and the least of it that is wanted, to its pixels as
# stored; None of what the CPU is to decode.
OnDevice = Callable[[bytes, str, tuple[int, int], tuple[int, int]], NDArray[np.uint8] | None]
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
    if rgb is None:
        rgb = _decode_pillow(image, header)
    return Decoded(np.ascontiguousarray(_upright(rgb, header.orientation)), header.size, by)


def _decode_jpeg(
    image: bytes, header: ImageHeader, shortest: int | None, on_device: OnDevice | None
) -> tuple[NDArray[np.uint8] | None, Decoder]:
    """The pixels, and by whom; none where the fast decoder does not manage: the thorough one then decides."""
    height, width = header.size if header.orientation not in SIDEWAYS else header.size[::-1]
    factor = 1.0 if shortest is None else min(1.0, shortest / min(height, width))
    least = (round(height * factor), round(width * factor))
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


def _decode_pillow(image: bytes, header: ImageHeader) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BoundedReader(image, MOST_READS), formats=[header.format]) as picture:
                rgb = aside(_to_rgb, picture)
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise UndecodableImage(
            f"image: {header.format} data is damaged or cut short ({type(error).__name__})"
        ) from None
    if (rgb.shape[1::-1] if header.orientation in SIDEWAYS else rgb.shape[:2]) != header.size:
        raise UndecodableImage(f"image: {header.format} data of another size than its header says")
    return rgb


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Any mode to [H, W, 3]; what is transparent becomes white."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        deep = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2)
    if picture.mode == "F":
        real = np.nan_to_num(np.asarray(picture))
        gray = real * 255 if real.max(initial=0) <= 1 else real
        return np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, 2)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(picture.convert("RGB"))


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undoes an EXIF orientation (1 to 8; EXIF 2.3, tag 0x0112)."""
    if orientation in SIDEWAYS:
        rgb = rgb.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return rgb
