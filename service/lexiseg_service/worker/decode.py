"""Decode a request's image: the limits on its header, then `lexiseg_model.pictures`, whose errors are translated."""

from __future__ import annotations

from lexiseg_model.errors import PictureError
from lexiseg_model.pictures import reader
from lexiseg_model.pictures.header import PictureHeader
from lexiseg_model.pictures.reader import Picture
from lexiseg_model.types import ModelCard
from lexiseg_service.image.header import check_size, read_header, refusal_of
from lexiseg_service.settings import Limits


def max_short_side(card: ModelCard) -> int:
    """Pixels of the shorter side beyond which a model's network uses no more detail."""
    return 2 * card.input.short_side


def decode(image: bytes, limits: Limits, short_side: int | None, header: PictureHeader | None = None) -> Picture:
    """Decode a still image.

    Args:
        image: the file.
        limits: checked on the header, before decoding.
        short_side: as of `lexiseg_model.pictures.reader.read`.
        header: of the image, if it has been read.

    Raises:
        ServiceError: as `read_header`; UndecodableImage when the pixels are damaged.
    """
    if header is None or not header.is_whole:
        header = read_header(image, limits)
    check_size(header.size, limits)
    try:
        return reader.read(image, short_side, header)
    except PictureError as error:
        raise refusal_of(error) from None
