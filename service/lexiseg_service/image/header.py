"""Headers of images that are sent: what `lexiseg_model.pictures` reads, and the limits that hold before decoding."""

from __future__ import annotations

import hashlib

from lexiseg_model.errors import PictureError, UnsupportedPictureError
from lexiseg_model.pictures import header as pictures
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_service.errors import InvalidValue, ServiceError, TooLarge, UndecodableImage, UnsupportedImage
from lexiseg_service.settings import Limits


def read_header(image: bytes, limits: Limits) -> PictureHeader:
    """Read the header of a still image and check it against the limits.

    Raises:
        UnsupportedImage: not a still image of an allowed type.
        UndecodableImage: the header is damaged, or the file has too many parts.
        TooLarge: too many bytes or pixels.
        InvalidValue: a side is too short.
    """
    if len(image) > limits.max_image_bytes:
        raise TooLarge(f"image: {len(image):,} bytes came, at most {limits.max_image_bytes:,} are taken")
    try:
        header = pictures.read_header(image)
    except PictureError as error:
        raise refusal_of(error) from None
    check_size(header.size, limits)
    return header


def refusal_of(error: PictureError) -> ServiceError:
    """The error of a request whose image cannot be read."""
    kind = UnsupportedImage if isinstance(error, UnsupportedPictureError) else UndecodableImage
    return kind(f"image: {error}")


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Check height and width against the limits.

    Raises:
        TooLarge: too many pixels.
        InvalidValue: a side is too short.
    """
    height, width = size
    if height * width > limits.max_pixels:
        raise TooLarge(f"image: {width} x {height} pixels came, at most {limits.max_pixels:,} in all are taken")
    if min(height, width) < limits.min_side:
        raise InvalidValue.of("image", f"{width} x {height} pixels", f"sides of at least {limits.min_side} pixels")


def image_id_of(image: bytes) -> str:
    """The id of an image: 128 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(image).hexdigest()[:32]
