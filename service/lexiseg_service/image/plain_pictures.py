"""The sizes of PNG and WebP files that hold a picture and nothing that says how it is turned, from their first bytes.

Pillow unpacks profiles and texts of a PNG, and copies all of a WebP, before it tells a size. This is for files in which
nothing is unusual; all others, and all that may be wrong, are left to that parser. What both can read, they read alike.
"""

from __future__ import annotations

from itertools import islice

from lexiseg_service.image.many_parts import PIXELS, png_chunks

HEAD = b"\0\0\0\x0dIHDR"
MOST_CHUNKS = 32  # of a PNG before its pixels
# Chunks of a PNG that say nothing of size and orientation, and nothing of more pictures.
SILENT = frozenset(
    {b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"hIST", b"iCCP"}
)
WEBP_HEAD = 30  # bytes, of whichever kind
SPEAKING = 0x02 | 0x04 | 0x08  # flags of a WebP: several pictures, XMP, EXIF
START_CODE = b"\x9d\x01\x2a"  # of a key frame of VP8 (RFC 6386, 9.1)
LOSSLESS = 0x2F  # signature (RFC 9649, 3.4)


def plain_png_size(image: bytes) -> tuple[int, int] | None:
    """(height, width) of a plain PNG; None where it is not plain."""
    if image[8:16] != HEAD:
        return None
    for name in islice(png_chunks(image), MOST_CHUNKS):
        if name == PIXELS:
            width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))
            return (height, width) if height and width else None
        if name not in SILENT:
            return None
    return None


def plain_webp_size(image: bytes) -> tuple[int, int] | None:
    """(height, width) of a plain WebP; None where it is not plain."""
    if len(image) < WEBP_HEAD:
        return None
    kind, length = image[12:16], int.from_bytes(image[16:20], "little")
    if kind == b"VP8X":
        if image[20] & SPEAKING:
            return None
        return int.from_bytes(image[27:30], "little") + 1, int.from_bytes(image[24:27], "little") + 1
    if 20 + length + length % 2 != len(image):  # more behind it, or less
        return None
    if kind == b"VP8 " and image[23:26] == START_CODE:
        width, height = (int.from_bytes(image[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif kind == b"VP8L" and image[20] == LOSSLESS:
        bits = int.from_bytes(image[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        return None
    return (height, width) if height and width else None
