"""Estimated time to decode an image file, from its type, its bytes and its sides."""

from __future__ import annotations

from contextlib import suppress

from lexiseg_service.errors import ServiceError
from lexiseg_service.image.header import sniff

MS_PER_FILE = 0.5
MS_PER_MEGAPIXEL = {"JPEG": 6.5, "PNG": 60.0, "WEBP": 60.0, "BMP": 20.0, "TIFF": 50.0, "AVIF": 50.0, "HEIF": 22.0}
MS_PER_MEGABYTE = {"JPEG": 9.0, "PNG": 22.0, "WEBP": 75.0, "BMP": 10.0, "TIFF": 10.0, "AVIF": 75.0, "HEIF": 75.0}
MS_PER_KEPT_MEGAPIXEL = 6.0  # where all pixels are wanted: they are copied and shrunk afterwards
JPEG_SCALES = (0.125, 0.25, 0.5, 1.0)  # of libjpeg-turbo's fast DCT


def decode_cost(
    size: tuple[int, int], image: bytes | None = None, *, shortest: int | None = None, whole: bool = False
) -> float:
    """Milliseconds of an ordinary core.

    Args:
        size: height and width of the image as sent; zeros where unknown.
        image: the file; None is a photograph as cameras write them.
        shortest: pixels that the shorter side need not exceed; None is all.
        whole: all pixels are wanted.
    """
    megapixels = size[0] * size[1] / 1e6
    kind = "JPEG"
    with suppress(ServiceError):
        kind = sniff(image) if image else kind
    scale = 1.0
    if kind == "JPEG" and shortest is not None and not whole:
        scale = next((scale for scale in JPEG_SCALES if scale * min(size) >= shortest), 1.0)
    kept = MS_PER_KEPT_MEGAPIXEL * megapixels if whole else 0.0
    of_bytes = MS_PER_MEGABYTE[kind] * len(image or b"") / 1e6
    return MS_PER_FILE + MS_PER_MEGAPIXEL[kind] * scale**2 * megapixels + of_bytes + kept
