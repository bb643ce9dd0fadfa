"""Decode by Pillow, and what it cannot hold by OpenCV: all that is no plain JPEG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lexiseg_model.errors import DamagedPictureError, PictureError
from lexiseg_model.pictures import deep
from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.colours import SRGB
from lexiseg_model.pictures.conversion import inks_to_srgb, to_srgb
from lexiseg_model.pictures.header import AS_STORED, PictureHeader, orientation_of, refusal_of, upright_size
from lexiseg_model.pictures.note import Note

FAST_JPEG_MODES = ("RGB", "L")  # modes that libjpeg-turbo decodes, unless the file is damaged
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes that convert to their twins alone


def decode(
    content: bytes, header: PictureHeader, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], int, tuple[Note, ...]]:
    """[h, w, 3], their orientation, and notes; of a JPEG at least of `size` (height, width) as stored.

    Raises:
        DamagedPictureError: header or pixels are damaged.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            rgb, orientation, notes = _decode(content, header, size)
    except PictureError:
        raise
    except Exception as error:  # the decoders raise almost anything on damaged data
        raise refusal_of(error, f"{header.format} data is damaged or cut short") from None
    if header.format != "JPEG" and upright_size(rgb.shape[:2], orientation) != header.size:
        raise DamagedPictureError(f"{header.format} data of another size than its header says")
    return rgb, orientation, notes


def _decode(
    content: bytes, header: PictureHeader, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], int, tuple[Note, ...]]:
    page, space = header.page, header.colours or SRGB
    notes: tuple[Note, ...] = ()
    try:
        opened = Image.open(io.BytesIO(content), formats=[header.format])
    except UnidentifiedImageError:
        if page is None:
            raise
        viewable, notes = deep.colours(content, header)  # Pillow has no mode for them
        rgb = to_rgb(viewable)
        return rgb, AS_STORED, (*notes, *(to_srgb(rgb, space) if space.profile else space.notes))
    with opened as picture:
        if page is not None:
            picture.seek(page.number)
        if header.format == "JPEG" and picture.mode in FAST_JPEG_MODES:
            # A damaged file takes no longer than a good one.
            picture.draft(None, size[::-1])
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
        notes += space.notes if inks is not None or not space.profile else to_srgb(rgb, space)
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
