"""Encoded bytes to upright sRGB of 8 bits.

JPEG by libjpeg-turbo; the rest by Pillow; deep colours that Pillow cannot hold by OpenCV. What has more pixels than are
wanted is halved: the last time here, so that a picture has the same pixels in every format, the times before by the
decoder of a JPEG, of which a half, a quarter and an eighth are means of pixels, too, and take less time than the whole.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lexiseg_model.errors import DamagedPictureError, PictureError
from lexiseg_model.pictures import deep
from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.colours import SRGB, ColourSpace
from lexiseg_model.pictures.conversion import inks_to_srgb, to_srgb
from lexiseg_model.pictures.header import (
    AS_STORED,
    PictureHeader,
    orientation_of,
    read_header,
    refusal_of,
    upright,
    upright_size,
)
from lexiseg_model.pictures.note import Note

FAST_JPEG_MODES = ("RGB", "L")  # modes that libjpeg-turbo decodes, unless the file is damaged
FAST_JPEG_COLOURS = ("YCbCr", "Gray", "RGB")
MAX_JPEG_HALVINGS = 3
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes that convert to their twins alone


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
    """Decode a still picture, `halved` to where a `short_side` of so many pixels is left.

    `header` is the file's, if it has been read.

    Raises:
        UnsupportedPictureError: not a still picture of a format and kind that is taken.
        DamagedPictureError: header or pixels are damaged.
    """
    if header is None or not header.is_whole:
        header = read_header(content)
    if header.format == "JPEG":
        rgb = _jpeg(content, _jpeg_size(header, short_side))
        if rgb is not None:
            return _picture(rgb, header, short_side, header.orientation, _in_srgb(rgb, header.colours or SRGB))
    return _decode(content, header, short_side)


def halved(rgb: NDArray[np.uint8], short_side: int | None) -> NDArray[np.uint8]:
    """A picture [H, W, 3] by means of 2 x 2 pixels, again while its shorter side is at least twice `short_side`."""
    while short_side is not None and min(rgb.shape[:2]) >= 2 * short_side:
        import cv2  # a gateway does without

        height, width = (side // 2 for side in rgb.shape[:2])
        whole = rgb[: 2 * height, : 2 * width]
        rgb = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return rgb


def _in_srgb(rgb: NDArray[np.uint8], space: ColourSpace) -> tuple[Note, ...]:
    """Convert [H, W, 3] in place; what the conversion had to guess."""
    return to_srgb(rgb, space) if space.profile else space.notes


def _picture(
    stored: NDArray[np.uint8], header: PictureHeader, short_side: int | None, orientation: int, notes: tuple[Note, ...]
) -> Picture:
    """Halved as stored, so that the same pixels are one as in the blocks of a JPEG, then upright."""
    return Picture(np.ascontiguousarray(upright(halved(stored, short_side), orientation)), header.size, notes)


def _jpeg(content: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """[h, w, 3] as stored; None where libjpeg-turbo is not installed or refuses the file: Pillow then decodes."""
    try:
        import simplejpeg  # a gateway does without
    except ImportError:
        return None
    height, width = size
    try:
        if simplejpeg.decode_jpeg_header(content)[2] not in FAST_JPEG_COLOURS:
            return None
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return np.ascontiguousarray(decoded[:height, :width])


def _jpeg_size(header: PictureHeader, short_side: int | None) -> tuple[int, int]:
    """(height, width) as stored, to which a JPEG is decoded: at least twice what is wanted, or all that there is."""
    size = header.stored_size
    for _ in range(MAX_JPEG_HALVINGS):
        if short_side is not None and min(size) >= 4 * short_side:
            size = (size[0] // 2, size[1] // 2)
    return size


def _decode(content: bytes, header: PictureHeader, short_side: int | None) -> Picture:
    try:
        with warnings.catch_warnings(action="ignore"):
            rgb, orientation, notes = _by_pillow(content, header, short_side)
    except PictureError:
        raise
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise refusal_of(error, f"{header.format} data is damaged or cut short") from None
    if header.format != "JPEG" and upright_size(rgb.shape[:2], orientation) != header.size:
        raise DamagedPictureError(f"{header.format} data of another size than its header says")
    return _picture(rgb, header, short_side, orientation, notes)


def _by_pillow(
    content: bytes, header: PictureHeader, short_side: int | None
) -> tuple[NDArray[np.uint8], int, tuple[Note, ...]]:
    """[h, w, 3], their orientation, and notes."""
    page, space = header.page, header.colours or SRGB
    notes: tuple[Note, ...] = ()
    try:
        opened = Image.open(io.BytesIO(content), formats=[header.format])
    except UnidentifiedImageError:
        if page is None:
            raise
        viewable, notes = deep.colours(content, header)  # Pillow has no mode for them
        rgb = to_rgb(viewable)
        return rgb, AS_STORED, (*notes, *_in_srgb(rgb, space))
    with opened as picture:
        if page is not None:
            picture.seek(page.number)
        if header.format == "JPEG" and picture.mode in FAST_JPEG_MODES:
            # A damaged file takes no longer than a good one.
            height, width = _jpeg_size(header, short_side)
            picture.draft(None, (width, height))
        picture.load()
        # Of TIFF, Pillow applies it itself; of AVIF, it hands on that of the container.
        orientation = {"TIFF": AS_STORED, "AVIF": orientation_of(picture)}.get(header.format, header.orientation)
        viewable = picture
        if deep.is_deep_grey(picture, page):
            viewable, notes = deep.grey(picture, page)
        elif deep.is_dim(picture, content, header):
            viewable, notes = deep.brightened(picture, content, header)
        inks = inks_to_srgb(viewable, space) if viewable.mode == "CMYK" else None
        rgb = to_rgb(viewable) if inks is None else inks
        notes += space.notes if inks is not None else _in_srgb(rgb, space)
        return rgb, orientation, notes


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A loaded picture of any mode of 8 bits as [H, W, 3]. In bands, which bounds the memory of intermediates."""
    width, height = picture.size
    rgb = np.empty((height, width, 3), np.uint8)
    has_alpha = picture.has_transparency_data
    is_seen = has_alpha and any(band.convert("RGBA").getchannel("A").getbbox() for _, band in _cut(picture))
    for rows, band in _cut(picture):
        if is_seen:
            band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band.convert("RGBA"))
        rgb[rows] = np.asarray(band.convert("RGB"))
    return rgb


def _cut(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = picture.size
    for rows in bands((height, width)):
        band = picture.crop((0, rows.start, width, rows.stop))
        yield rows, band.convert(PREMULTIPLIED.get(band.mode, band.mode))
