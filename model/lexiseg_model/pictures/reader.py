"""Encoded bytes to upright sRGB of 8 bits.

JPEG by libjpeg-turbo at a reduced DCT scale; the rest by Pillow; deep colours that Pillow cannot hold by OpenCV.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lexiseg_model.errors import DamagedPictureError, PictureError
from lexiseg_model.pictures import deep
from lexiseg_model.pictures.alpha import to_rgb
from lexiseg_model.pictures.colours import SRGB, inks_to_srgb, to_srgb
from lexiseg_model.pictures.header import AS_STORED, PictureHeader, orientation_of, read_header, refusal_of, upright
from lexiseg_model.pictures.note import Note

FAST_JPEG_MODES = ("RGB", "L")  # modes that libjpeg-turbo decodes, unless the file is damaged
FAST_JPEG_COLOURS = ("YCbCr", "Gray", "RGB")


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        rgb: [h, w, 3], upright; may be smaller than `size`.
        size: (height, width) of the picture as sent, upright.
        notes: what the decoder had to guess.
    """

    rgb: NDArray[np.uint8]
    size: tuple[int, int]
    notes: tuple[Note, ...] = ()


def read(content: bytes, short_side: int | None = None, header: PictureHeader | None = None) -> Picture:
    """Decode a still picture, of which a `short_side` of so many pixels is enough: JPEG decoding then does less work.

    `header` is the file's, if it has been read.

    Raises:
        UnsupportedPictureError: not a still picture of a format and kind that is taken.
        DamagedPictureError: header or pixels are damaged.
    """
    if header is None or not header.is_whole:
        header = read_header(content)
    if header.format == "JPEG":
        rgb = _jpeg(content, header, short_side)
        if rgb is not None:
            notes = to_srgb(rgb, header.colours or SRGB)
            return Picture(np.ascontiguousarray(upright(rgb, header.orientation)), header.size, notes)
    return _decode(content, header, short_side)


def _jpeg(content: bytes, header: PictureHeader, short_side: int | None) -> NDArray[np.uint8] | None:
    """[h, w, 3] as stored; None where libjpeg-turbo is not installed or refuses the file: Pillow then decodes."""
    try:
        import simplejpeg  # a gateway does without
    except ImportError:
        return None
    height, width = _wanted_size(header, short_side)
    try:
        if simplejpeg.decode_jpeg_header(content)[2] not in FAST_JPEG_COLOURS:
            return None
        # The smallest DCT scale that still has as many pixels.
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return decoded


def _wanted_size(header: PictureHeader, short_side: int | None) -> tuple[int, int]:
    """(height, width) as stored, at least which are decoded."""
    height, width = header.stored_size
    factor = 1.0 if short_side is None else min(1.0, short_side / min(height, width))
    return round(height * factor), round(width * factor)


def _decode(content: bytes, header: PictureHeader, short_side: int | None) -> Picture:
    try:
        with warnings.catch_warnings(action="ignore"):
            rgb, notes = _by_pillow(content, header, short_side)
    except PictureError:
        raise
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise refusal_of(error, f"{header.format} data is damaged or cut short") from None
    if header.format != "JPEG" and rgb.shape[:2] != header.size:
        raise DamagedPictureError(f"{header.format} data of another size than its header says")
    return Picture(np.ascontiguousarray(rgb), header.size, notes)


def _by_pillow(
    content: bytes, header: PictureHeader, short_side: int | None
) -> tuple[NDArray[np.uint8], tuple[Note, ...]]:
    """Upright [h, w, 3] and notes."""
    page, space = header.page, header.colours or SRGB
    notes: tuple[Note, ...] = ()
    try:
        opened = Image.open(io.BytesIO(content), formats=[header.format])
    except UnidentifiedImageError:
        if page is None:
            raise
        shown, notes = deep.colours(content, header)  # Pillow has no mode for them
        rgb = to_rgb(shown)
        return rgb, (*notes, *to_srgb(rgb, space))
    with opened as picture:
        if page is not None:
            picture.seek(page.number)
        if header.format == "JPEG" and picture.mode in FAST_JPEG_MODES:
            # A damaged file takes no longer than a good one.
            picture.draft(None, _wanted_size(header, short_side)[::-1])
        picture.load()
        # Of TIFF, Pillow applies it itself; of AVIF, it hands on that of the container.
        orientation = {"TIFF": AS_STORED, "AVIF": orientation_of(picture)}.get(header.format, header.orientation)
        shown = picture
        if deep.is_deep_grey(picture, page):
            shown, notes = deep.grey(picture, page)
        elif deep.is_dim(picture, content, header):
            shown, notes = deep.brightened(picture, content, header)
        inks = inks_to_srgb(shown, space) if shown.mode == "CMYK" else None
        rgb = to_rgb(shown) if inks is None else inks
        notes += space.notes if inks is not None else to_srgb(rgb, space)
        return upright(rgb, orientation), notes
