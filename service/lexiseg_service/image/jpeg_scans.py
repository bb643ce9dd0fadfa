"""How often a JPEG is painted over before it is done: its scans, counted without decoding one.

A scan of a few bytes goes over all the pixels. A file of some megabytes with nothing but scans keeps a decoder, which
nobody can stop in the middle, for hours.
"""

from __future__ import annotations

import re

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a segment
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker behind a scan's own data
MOST_SEGMENTS = 10_000


def has_more_scans(image: bytes, most: int) -> bool:
    """Whether a JPEG has more than `most` scans, or too many parts to be counted."""
    # Few files have so many of these two bytes, wherever they stand.
    return image.count(b"\xff\xda") > most and _more(image, most)


def _more(image: bytes, most: int) -> bool:
    at, scans = 2, 0
    for _ in range(MOST_SEGMENTS):
        at = image.find(b"\xff", at)
        if at < 0 or at + 1 >= len(image):
            return False
        marker = image[at + 1]
        if marker == END_OF_IMAGE:
            return False
        if marker == 0xFF:  # fill
            at += 1
        elif marker in ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(image[at + 2 : at + 4], "big")
            if marker == START_OF_SCAN:
                scans += 1
                if scans > most:
                    return True
                behind = AFTER_SCAN.search(image, at)
                if behind is None:
                    return False
                at = behind.start()
    return True
