"""How often a JPEG is painted over before it is done: its scans, counted without decoding one.

A scan of a few bytes goes over all the pixels. A file of some megabytes with nothing but scans keeps a decoder, which
nobody can stop in the middle, for hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

START_OF_IMAGE = b"\xff\xd8"
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
SEQUENTIAL = frozenset({0xC0, 0xC1})  # frames whose first scan may hold all of them
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a segment
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker behind a scan's own data
MOST_SEGMENTS = 10_000
MOST_COMPONENTS = 4
BEGIN_OF_SCAN = b"\xff\xda"  # nowhere in a scan's own data
FAR = 4 * 2**20  # bytes from one scan to the next; to look through all that may stand behind the last takes 30 ms


class TooManySegments(Exception):
    """The file is a swarm of tiny parts."""


def has_more_scans(image: bytes, most: int) -> bool:
    """Whether a JPEG has more than `most` scans, or too many parts to be counted."""
    try:
        # Few files have so many of these two bytes, wherever they stand.
        return not _components_in_one_scan(image) and image.count(BEGIN_OF_SCAN) > most and _count(image, most) > most
    except TooManySegments:
        return True


def components_in_one_scan(image: bytes) -> int:
    """Of a JPEG that is decoded in one go, as most photographs are; 0 of one that is not, and of what is none.

    With three or one of them it is decoded smaller than it is where that is enough.
    """
    try:
        return _components_in_one_scan(image) if image.startswith(START_OF_IMAGE) else 0
    except TooManySegments:
        return 0


class Passes(NamedTuple):
    """How often a decoder goes over as many samples as a JPEG has pixels: to read them, and to refine what it has read,
    for which it looks at each coefficient again."""

    reading: float
    refining: float
    components: int


def passes_of(image: bytes, most: int) -> Passes:
    """What the scans of a JPEG are to a decoder, of which `most` are looked at.

    They are told by their first bytes, wherever these stand, but no further than `FAR` from those before: a preview
    among the metadata counts, too, and of the scans' own data nothing is made out.
    """
    shares = _shares(image)
    reading = refining = 0.0
    at = 0
    for _ in range(most):
        at = image.find(BEGIN_OF_SCAN, at, at + FAR) + len(BEGIN_OF_SCAN)
        if at < len(BEGIN_OF_SCAN) or at + 3 > len(image):
            break
        n_components = image[at + 2]
        components = image[at + 3 : at + 3 + 2 * n_components : 2]
        behind = at + 3 + 2 * n_components
        band = image[behind : behind + 3] if n_components <= MOST_COMPONENTS else b""
        share = sum(shares.get(component, 1.0) for component in components[:MOST_COMPONENTS])
        if len(band) == 3 and band[0] and band[2] >> 4:  # of what is not the mean of a block, and not its first bits
            refining += share
        else:
            reading += share
    return Passes(reading, refining, len(shares))


def _shares(image: bytes) -> dict[int, float]:
    """By the number of each component: its samples to a pixel."""
    with suppress(TooManySegments):
        for marker, at in segments(image):
            if marker in FRAMES:
                n_bytes = 3 * min(MOST_COMPONENTS, image[at + 9] if at + 9 < len(image) else 0)
                listed = image[at + 10 : at + 10 + n_bytes]
                across, down = [sampled >> 4 for sampled in listed[1::3]], [sampled & 15 for sampled in listed[1::3]]
                most = max(across, default=0) * max(down, default=0)
                return {name: h * v / most for name, h, v in zip(listed[::3], across, down, strict=False) if most}
            if marker == START_OF_SCAN:
                break
    return {}


def _components_in_one_scan(image: bytes) -> int:
    """All, if the first scan has all that there is; a decoder looks no further then."""
    components = 0
    for marker, at in segments(image):
        if marker in FRAMES:
            if marker not in SEQUENTIAL:
                return 0
            components = image[at + 9] if at + 9 < len(image) else 0
        elif marker == START_OF_SCAN:
            return components if at + 4 < len(image) and image[at + 4] == components else 0
    return 0


def _count(image: bytes, most: int) -> int:
    scans = 0
    for marker, _ in segments(image):
        scans += marker == START_OF_SCAN
        if scans > most:
            break
    return scans


def segments(image: bytes) -> Iterator[tuple[int, int]]:
    """Markers with a segment, and where they stand, to the end of the image."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        at = image.find(b"\xff", at)
        if at < 0 or at + 1 >= len(image):
            return
        marker = image[at + 1]
        if marker == END_OF_IMAGE:
            return
        if marker == 0xFF:  # fill
            at += 1
        elif marker in ALONE:
            at += 2
        else:
            yield marker, at
            at += 2 + int.from_bytes(image[at + 2 : at + 4], "big")
            if marker == START_OF_SCAN:
                behind = AFTER_SCAN.search(image, at)
                if behind is None:
                    return
                at = behind.start()
    raise TooManySegments
