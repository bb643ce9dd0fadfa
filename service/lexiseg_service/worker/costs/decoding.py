"""What an image file takes to be decoded, before anything of it is: from its kind, its bytes and its sides."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice, takewhile

from lexiseg_service.image.av1 import frames_of
from lexiseg_service.image.boxes import Damaged
from lexiseg_service.image.header import is_heic, most_scans
from lexiseg_service.image.jpeg_scans import START_OF_IMAGE, components_in_one_scan, passes_of
from lexiseg_service.image.many_parts import (
    MOST_CHUNKS,
    TooManyParts,
    check_directory,
    is_of_run_lengths,
    png_chunks,
)
from lexiseg_service.image.many_parts import (
    PIXELS as PIXEL_CHUNK,
)

COLOURS = 3  # components of a JPEG that the fast decoder takes at most; CMYK has four
SCALES = (0.125, 0.25, 0.5, 1.0)  # at which a JPEG is decoded soon; those between take as long as the next
BEGIN = 0.5  # milliseconds of any file
# Milliseconds of a megapixel of the file, of one that is decoded, and of a megabyte, of a JPEG of one scan. What is
# not made of the file's own kind is shrunk in the decoder.
PIXELS, DECODED_PIXELS, BYTES = 0.8, 6.5, 9.0
# Of a megapixel and of a megabyte, of what is decoded whole, by its kind. The dearest of each is meant, as a PNG of a
# photograph; what is simple takes half of it.
SCANS = (5.0, 35.0)  # of several scans, or of four colours
READ, REFINED, FOUR_COLOURS = 1.0, 4.4, 40.0  # of a megapixel that a scan reads or refines; beyond, of four colours
PNG, ROWS, STORED = b"\x89PNG", (20.0, 22.0), 14.0  # likewise; of each byte of a pixel
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel of a PNG, by its type of colour
SEEN_THROUGH = 45.0  # beyond, of what may be transparent: it is laid over white
RIFF, LOSSY, LOSSLESS = b"RIFF", (40.0, 75.0), (50.0, 30.0)
TIFF, STRIPS = (b"II", b"MM"), (50.0, 10.0)
EACH_PLACE = 0.013  # likewise, of each number that says where a strip of a TIFF is, or how long
OTHER_KINDS = 20.0, 10.0
HEIC = 22.0, 75.0
AVIF = 50.0, 75.0  # of a megapixel of its frames, those of its transparency among them
RUN_LENGTHS = 300.0, 10.0  # of a BMP: decoded in Python
BOXED = b"ftyp"  # bytes 4 to 8 of AVIF and HEIC
HEAD = 26  # bytes of a PNG to its depth and type of colour
HAS_ALPHA = 4  # bit of that type
FLAGS, ALPHA = 20, 0x10  # byte of a WebP, and bit of it
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
    of_pixels, of_bytes = _kind(image, size)
    begin = BEGIN + EACH_PLACE * _places(image)
    return begin + of_pixels * max(megapixels, _frames(image)) + of_bytes * n_bytes / 1e6 + kept


def _scale(shorter: int, shortest: int) -> float:
    """The smallest at which a JPEG still has as many pixels as are wanted."""
    return next((scale for scale in SCALES if scale * shorter >= shortest), 1.0)


def _places(image: bytes) -> int:
    with suppress(TooManyParts):
        return check_directory(image) if image.startswith(TIFF) else 0
    return 0


def _frames(image: bytes) -> float:
    """Megapixels of all frames of an AVIF, some of which may never be seen."""
    with suppress(Damaged):
        return frames_of(image).together / 1e6 if image[4:8] == BOXED else 0.0
    return 0.0


def _kind(image: bytes, size: tuple[int, int]) -> tuple[float, float]:
    """Milliseconds of a megapixel, and of a megabyte."""
    if image.startswith(START_OF_IMAGE):
        passes = passes_of(image, most_scans(size[0] * size[1]))
        colours = FOUR_COLOURS if passes.components > COLOURS else 0.0
        return SCANS[0] + READ * passes.reading + REFINED * passes.refining + colours, SCANS[1]
    if image.startswith(PNG):
        return _png(image)
    if image.startswith(RIFF):
        return _webp(image)
    if image.startswith(TIFF):
        return STRIPS
    if is_of_run_lengths(image):
        return RUN_LENGTHS
    if image[4:8] != BOXED:
        return OTHER_KINDS
    return HEIC if is_heic(image) else AVIF


def _png(image: bytes) -> tuple[float, float]:
    if len(image) < HEAD:
        return ROWS
    depth, colour = image[HEAD - 2], image[HEAD - 1]
    stored = STORED * SAMPLES.get(colour, 4) * depth / 8
    before_pixels = islice(takewhile(lambda name: name != PIXEL_CHUNK, png_chunks(image)), MOST_CHUNKS)
    seen_through = SEEN_THROUGH if colour & HAS_ALPHA or b"tRNS" in before_pixels else 0.0
    return ROWS[0] + stored + seen_through, ROWS[1]


def _webp(image: bytes) -> tuple[float, float]:
    """By the first of its chunks, which says of more than one what is among them (RFC 9649, 2.7)."""
    if image[12:16] == b"VP8L":
        return LOSSLESS
    extended = image[12:16] == b"VP8X" and len(image) > FLAGS
    seen_through = SEEN_THROUGH if extended and image[FLAGS] & ALPHA else 0.0
    return LOSSY[0] + seen_through, LOSSY[1]
