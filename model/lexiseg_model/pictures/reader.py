"""Encoded bytes to upright sRGB of 8 bits.

JPEG by libjpeg-turbo; the rest by Pillow; deep colours that Pillow cannot hold by OpenCV. What has more pixels than are
wanted is halved: the last time here, so that a picture has the same pixels in every format, the times before by the
decoder of a JPEG, of which a half, a quarter and an eighth are means of pixels, too, and take less time than the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.pictures.colours import SRGB, Note
from lexiseg_model.pictures.conversion import to_srgb
from lexiseg_model.pictures.decoding import decode
from lexiseg_model.pictures.header import PictureHeader, read_header, upright

FAST_JPEG_COLOURS = ("YCbCr", "Gray", "RGB")
MAX_JPEG_HALVINGS = 3


@dataclass(frozen=True)
class Picture:
    """A decoded picture."""

    rgb: NDArray[np.uint8]  # [h, w, 3], upright; may be smaller than `size`
    size: tuple[int, int]  # (height, width) of the picture as sent, upright
    notes: tuple[Note, ...] = ()  # what the decoder had to guess


def read(content: bytes, short_side: int | None = None, header: PictureHeader | None = None) -> Picture:
    """Decode a still picture, `halved` to where a `short_side` of so many pixels is left; errors as `read_header`.

    `header` is the file's, if it has been read.
    """
    if header is None or not header.is_whole:
        header = read_header(content)
    size, space = header.stored_size, header.colours or SRGB
    for _ in range(MAX_JPEG_HALVINGS):  # by the decoder, to at least twice what is wanted
        if short_side is not None and min(size) >= 4 * short_side:
            size = (size[0] // 2, size[1] // 2)
    if header.format == "JPEG" and (rgb := _jpeg(content, size)) is not None:
        notes = to_srgb(rgb, space) if space.profile else space.notes
        stored, orientation = rgb, header.orientation
    else:
        stored, orientation, notes = decode(content, header, size)
    # Halved as stored, so that the same pixels are one as in the blocks of a JPEG.
    return Picture(np.ascontiguousarray(upright(halved(stored, short_side), orientation)), header.size, notes)


def halved(rgb: NDArray[np.uint8], short_side: int | None) -> NDArray[np.uint8]:
    """A picture [H, W, 3] by means of 2 x 2 pixels, again while its shorter side is at least twice `short_side`."""
    while short_side is not None and min(rgb.shape[:2]) >= 2 * short_side:
        import cv2  # a gateway does without

        height, width = (side // 2 for side in rgb.shape[:2])
        whole = rgb[: 2 * height, : 2 * width]
        rgb = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return rgb


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
