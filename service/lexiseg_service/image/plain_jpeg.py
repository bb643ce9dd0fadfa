"""The size of a JPEG as cameras' software and libraries write it, read from its segments alone.

Pillow's parser takes ten times as long. This is for files of one scan without EXIF, in which nothing is unusual; all
others, and all that may be wrong, are left to that parser. What both can read, they read alike.
"""

from __future__ import annotations

QUANTISATION, HUFFMAN, RESTARTS, COMMENT = 0xDB, 0xC4, 0xDD, 0xFE
BASELINE, START_OF_SCAN = 0xC0, 0xDA
SKIPPED = frozenset({HUFFMAN, RESTARTS, COMMENT})
NAMES = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0"}  # of segments that say nothing of size and orientation
SHORTEST = 14  # bytes of these, without which a parser stumbles
TABLE = 65  # bytes of a quantisation table of 8 bits, with its number
MOST_SEGMENTS = 64


def plain_size(image: bytes) -> tuple[int, int] | None:
    """(height, width) of a plain JPEG of one scan; None where it is not plain."""
    size, components = None, 0
    at = 2
    for _ in range(MOST_SEGMENTS):
        if len(image) < at + 4 or image[at] != 0xFF:
            return None
        marker, length = image[at + 1], image[at + 2] << 8 | image[at + 3]
        body, at = at + 4, at + 2 + length
        if at < body or at >= len(image):
            return None
        if marker in NAMES:
            if at - body < SHORTEST or not image.startswith(NAMES[marker], body):
                return None
        elif marker == QUANTISATION:
            if (at - body) % TABLE or any(image[table] > 3 for table in range(body, at, TABLE)):
                return None
        elif marker == BASELINE:
            components = image[body + 5] if at > body + 5 else 0
            if size is not None or components not in (1, 3) or at != body + 6 + 3 * components or image[body] != 8:
                return None
            size = image[body + 1] << 8 | image[body + 2], image[body + 3] << 8 | image[body + 4]
        elif marker == START_OF_SCAN:
            in_one_scan = size is not None and image[body] == components
            return size if in_one_scan and size and all(size) else None
        elif marker not in SKIPPED:
            return None
    return None
