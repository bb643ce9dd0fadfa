"""What an image file takes to be decoded, before anything of it is: from its kind, its bytes and its sides."""

from __future__ import annotations

from contextlib import suppress

from lexiseg_service.image.av1 import frames_of
from lexiseg_service.image.boxes import Damaged
from lexiseg_service.image.jpeg_scans import components_in_one_scan
from lexiseg_service.image.many_parts import is_of_run_lengths

COLOURS = 3  # components of a JPEG that the fast decoder takes at most; CMYK has four
SCALES = (0.125, 0.25, 0.5, 1.0)  # at which a JPEG is decoded soon; those between take as long as the next
BEGIN = 0.5  # milliseconds of any file
# Milliseconds of a megapixel of the file, of one that is decoded, and of a megabyte, of a JPEG of one scan. What is
# not made of the file's own kind is shrunk in the decoder.
PIXELS, DECODED_PIXELS, BYTES = 0.8, 6.5, 9.0
# Of a megapixel and of a megabyte, of what is decoded whole, by the first bytes of the file; then of all other kinds.
# The dearest of each kind is meant: a WebP of noise, a PNG of a photograph. A JPEG of many scans has many passes.
WHOLE_KINDS = ((b"\x89PNG", 30.0, 22.0), (b"RIFF", 24.0, 75.0), (b"\xff\xd8", 20.0, 35.0))
OTHER_KINDS = 20.0, 10.0
AVIF = 22.0, 75.0
RUN_LENGTHS = 300.0, 10.0  # of a BMP: decoded in Python
BOXED = b"ftyp"  # bytes 4 to 8 of AVIF and HEIC
KEPT = 6.0  # of each megapixel where all of them are wanted: they are copied, and shrunk by us


def decode_cost(
    size: tuple[int, int], image: bytes | None = None, *, shortest: int | None = None, whole: bool = False
) -> float:
    """Of an image as sent: milliseconds of an ordinary core.

    Args:
        size: height and width of it, or zeros where nobody knows.
        image: the file; None is a photograph as cameras write them.
        shortest: pixels that the shorter side need not exceed; None is all.
        whole: all its pixels are wanted.
    """
    megapixels = size[0] * size[1] / 1e6
    kept = KEPT * megapixels if whole else 0.0
    n_bytes = 0 if image is None else len(image)
    if image is None or 0 < components_in_one_scan(image) <= COLOURS:
        scale = 1.0 if whole or shortest is None else _scale(min(size), shortest)
        return BEGIN + (PIXELS + DECODED_PIXELS * scale**2) * megapixels + BYTES * n_bytes / 1e6 + kept
    (of_pixels, of_bytes), unseen = _kind(image), _unseen(image)
    megapixels = max(megapixels, unseen)
    return BEGIN + of_pixels * megapixels + of_bytes * n_bytes / 1e6 + kept


def _scale(shorter: int, shortest: int) -> float:
    """The smallest at which a JPEG still has as many pixels as are wanted."""
    return next((scale for scale in SCALES if scale * shorter >= shortest), 1.0)


def _unseen(image: bytes) -> float:
    """Megapixels of the frames of an AVIF, of which as many again are allowed for: those of its transparency."""
    with suppress(Damaged):
        return frames_of(image).together / 2e6 if image[4:8] == BOXED else 0.0
    return 0.0


def _kind(image: bytes) -> tuple[float, float]:
    for first, of_pixels, of_bytes in WHOLE_KINDS:
        if image.startswith(first):
            return of_pixels, of_bytes
    if is_of_run_lengths(image):
        return RUN_LENGTHS
    return AVIF if image[4:8] == BOXED else OTHER_KINDS
