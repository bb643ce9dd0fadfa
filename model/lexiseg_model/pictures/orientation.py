"""Orientation: how stored pixels are turned for display, and the size that results.

JPEG, PNG, WebP and TIFF say it by the EXIF tag alone, as browsers read it. HEIC and AVIF say it by their container
(irot, imir); EXIF and XMP in them repeat it at best.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112  # tag of EXIF and TIFF
AS_STORED = 1
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width
UPSIDE_DOWN = (3, 4, 7, 8)  # after that, rows are reversed
MIRRORED = (2, 3, 6, 7)  # and columns
Kind = TypeVar("Kind", bound=np.generic)


def known_orientation(value: object) -> int:
    """A value of the tag as 1 to 8; anything else means "as stored"."""
    return value if isinstance(value, int) and 1 <= value <= 8 else AS_STORED


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) of the upright picture from that of the stored one; also the other way round."""
    return size[::-1] if orientation in SIDEWAYS else size


def upright(pixels: NDArray[Kind], orientation: int) -> NDArray[Kind]:
    """A view of stored pixels [h, w, ...] as they are displayed (EXIF 2.3, tag 0x0112).

    Args:
        orientation: 1 to 8.
    """
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in MIRRORED:
        pixels = pixels[:, ::-1]
    return pixels


def matrix_orientation(a: float, b: float, c: float, d: float) -> int:
    """The orientation that is nearest to a display matrix of a film: stored (x, y) is shown at (ax + cy, bx + dy)."""
    sideways = abs(b) + abs(c) > abs(a) + abs(d)
    mirrored, upside_down = (c < 0, b < 0) if sideways else (a < 0, d < 0)
    alike = (
        value
        for value in range(1, 9)
        if (value in SIDEWAYS, value in MIRRORED, value in UPSIDE_DOWN) == (sideways, mirrored, upside_down)
    )
    return next(alike)


def exif_orientation(exif: bytes) -> int:
    """The orientation of an EXIF record, with or without its `Exif` prefix; "as stored" if it cannot be read."""
    record = Image.Exif()
    try:
        record.load(exif)
        return known_orientation(record.get(ORIENTATION))
    except Exception:  # the parser raises almost anything on damaged records
        return AS_STORED


def orientation_of(picture: Image.Image) -> int:
    """The orientation by the EXIF that an open picture carries before its pixels; its XMP never counts.

    Of AVIF this is what libavif read from the container: Pillow hands it on as EXIF.
    """
    if exif := picture.info.get("exif"):
        return exif_orientation(exif)
    lines = str(picture.info.get("Raw profile type exif", "")).split("\n")  # as ImageMagick writes it to PNG
    try:
        return exif_orientation(bytes.fromhex("".join(lines[3:])))
    except ValueError:
        return AS_STORED
