"""Encoded bytes to RGB pixels: JPEG by libjpeg-turbo at a reduced DCT scale, the rest by Pillow."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.bands import bands
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.pictures.orientation import AS_STORED, orientation_of, upright
from lexiseg_model.types import ModelCard
from lexiseg_service.errors import UndecodableImage
from lexiseg_service.image.header import check_size, read_header
from lexiseg_service.settings import Limits

FAST_JPEG_MODES = ("RGB", "L")  # modes that libjpeg-turbo decodes, unless the file is damaged


@dataclass(frozen=True)
class Decoded:
    """`rgb` [h, w, 3] upright; may be smaller than `size`, the (height, width) of the image as sent."""

    rgb: NDArray[np.uint8]
    size: tuple[int, int]


def max_short_side(card: ModelCard) -> int:
    """Pixels of the shorter side beyond which a model's network uses no more detail."""
    return 2 * card.input.short_side


def decode(image: bytes, limits: Limits, short_side: int | None, header: PictureHeader | None = None) -> Decoded:
    """Decode a still image.

    Args:
        image: the file.
        limits: checked on the header, before decoding.
        short_side: pixels of the shorter side that are enough, so that JPEG decoding does less work; None keeps all.
        header: of the image, if it has been read.

    Raises:
        ServiceError: as `read_header`; UndecodableImage when the pixels are damaged.
    """
    if header is None or (header.format == "TIFF" and header.page is None):  # its page does not travel
        header = read_header(image, limits)
    check_size(header.size, limits)
    rgb = _decode_jpeg(image, header, short_side) if header.format == "JPEG" else None
    rgb = _decode_pillow(image, header, short_side) if rgb is None else upright(rgb, header.orientation)
    return Decoded(np.ascontiguousarray(rgb), header.size)


def _decode_jpeg(image: bytes, header: PictureHeader, short_side: int | None) -> NDArray[np.uint8] | None:
    """None where libjpeg-turbo refuses the file: Pillow then tries."""
    height, width = _wanted_size(header, short_side)
    try:
        colours = simplejpeg.decode_jpeg_header(image)[2]
        if colours not in ("YCbCr", "Gray", "RGB"):
            return None
        # The smallest DCT scale that still has as many pixels.
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(image, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return decoded


def _wanted_size(header: PictureHeader, short_side: int | None) -> tuple[int, int]:
    """(height, width) as stored, at least which are decoded."""
    height, width = header.stored_size
    factor = 1.0 if short_side is None else min(1.0, short_side / min(height, width))
    return round(height * factor), round(width * factor)


def _decode_pillow(image: bytes, header: PictureHeader, short_side: int | None) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(image), formats=[header.format]) as picture:
                if header.format == "JPEG" and picture.mode in FAST_JPEG_MODES:
                    # A damaged file takes no longer than a good one.
                    picture.draft(None, _wanted_size(header, short_side)[::-1])
                width, height = picture.size
                rgb = _to_rgb(picture)
                # Of TIFF, Pillow applies it itself; of AVIF, it hands on that of the container.
                orientation = AS_STORED if header.format == "TIFF" else orientation_of(picture)
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise UndecodableImage(
            f"image: {header.format} data is damaged or cut short ({type(error).__name__})"
        ) from None
    if rgb.shape[:2] != (height, width):
        raise UndecodableImage(f"image: {header.format} data of another size than its header says")
    return upright(rgb, orientation)


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Any mode to [H, W, 3] over white. In bands, which bounds the memory of intermediates."""
    picture.load()
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    for rows in bands((height, width)):
        rgb[rows] = _band_to_rgb(picture.crop((0, rows.start, width, rows.stop)))
    return rgb


def _band_to_rgb(band: Image.Image) -> NDArray[np.uint8]:
    """[h, W, 3], or [h, W, 1] of a mode with 16 bits of grey."""
    if band.mode.startswith("I;16") or band.mode == "I":
        deep = np.asarray(band).astype(np.int64).clip(0, 65535)
        return (deep >> 8).astype(np.uint8)[..., None]
    if band.has_transparency_data:
        layer = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(band.convert("RGB"))
