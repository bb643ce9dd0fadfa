"""The parts of an image file, counted before a decoder's parser sees them.

Pillow parses in Python and holds the GIL: a file of a million empty chunks takes it seconds. No camera or program
writes more than some hundred parts. The time of a count is bounded by the limits themselves.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from lexiseg_model.errors import DamagedPictureError
from lexiseg_model.pictures.tiff import Directory

MAX_PARTS = 8192  # 20 MB of PNG in IDAT chunks of 2.5 KB; libpng writes 8 KB
# Parts of one kind that a parser unpacks: tables, compressed texts, EXIF, resources. Writers need a few of each.
MAX_UNPACKED = 16
MAX_TEXTS = 64  # compressed texts of a PNG, each of some megabytes
MAX_FILL_BYTES = 1 << 16  # between the segments of a JPEG
MAX_SCANS = 128  # of a progressive JPEG: each costs a pass over all blocks, and may have a few bytes only
MAX_NUMBERS = 1 << 17  # of a TIFF's directory: offsets and lengths of 65,536 strips
MAX_DIRECTORIES = 64  # of a TIFF; one with more is refused as many pictures
MAX_RLE_BYTES = 1 << 20  # of a BMP with run lengths, which Pillow decodes in Python

PNG_UNPACKED = {b"iCCP": ("colours", MAX_UNPACKED), b"zTXt": ("texts", MAX_TEXTS), b"iTXt": ("texts", MAX_TEXTS)}
FILL = re.compile(rb"(?:[^\xff]|\xff\x00)*\xff+")  # up to a marker's code
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
ALONE = {0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}  # markers without a length
FRAMES = {*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC}
IN_CODED_DATA = np.isin(np.arange(256), (0x00, *range(0xD0, 0xD8), 0xFF))  # behind an FF that begins no marker
QUANTIZATION, EXIF, PHOTOSHOP = 0xDB, 0xE1, 0xED
EXIF_BEGINS = b"Exif\0\0"
NUMBER_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # by TIFF's types; others are bytes
BASELINE_TAGS = range(254, 533)
UNPACKED_TAGS = {*BASELINE_TAGS, 700, 34675}  # XMP, ICC profile


def check_structure(image: bytes, kind: str) -> None:
    """Count the parts of a file of a kind, under Pillow's name for it. Raises DamagedPictureError: more than any camera
    or program writes; a damaged file is left to its decoder."""
    COUNTS[kind](image)


class _Parts:
    """Counts of parts, by name in the plural, and in all."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._counts: Counter[str] = Counter()

    def add(self, name: str, limit: int, amount: int = 1) -> None:
        self._counts[name] += amount
        if self._counts[name] > limit:
            raise DamagedPictureError(f"more than {limit:,} {name} came in {self._file}")


def _count_png(image: bytes) -> None:
    parts = _Parts("a PNG")
    for name, place in png_chunks(image):
        parts.add("chunks", MAX_PARTS)
        if name in PNG_UNPACKED:
            kind, limit = PNG_UNPACKED[name]
            parts.add(f"compressed {kind}", limit)
        elif name == b"eXIf":
            _count_directories(image[place], "an EXIF block")
        elif name == b"IEND":
            return


def png_chunks(image: bytes) -> Iterator[tuple[bytes, slice]]:
    """The name of each chunk of a PNG, and where its content is: between length and name, and a checksum."""
    at = 8
    while at + 8 <= len(image):
        length, name = struct.unpack_from(">I4s", image, at)
        yield name, slice(at + 8, at + 8 + length)
        at += 12 + length


def _count_riff(image: bytes) -> None:
    parts, at = _Parts("a WebP"), 12
    while at + 8 <= len(image):
        name, length = struct.unpack_from("<4sI", image, at)
        parts.add("chunks", MAX_PARTS)
        if name == b"EXIF":
            parts.add("EXIF chunks", MAX_UNPACKED)
            _count_directories(image[at + 8 : at + 8 + length].removeprefix(EXIF_BEGINS), "an EXIF block")
        at += 8 + length + length % 2


def _count_boxes(image: bytes) -> None:
    """Boxes of the file; what is inside of them libheif bounds."""
    parts, at = _Parts("a HEIC or AVIF"), 0
    while at + 16 <= len(image):
        length, _, long = struct.unpack_from(">I4sQ", image, at)
        parts.add("boxes", MAX_PARTS)
        length = long if length == 1 else length
        if length < 8:  # to the end of the file, or damaged
            return
        at += length


def _count_jpeg(image: bytes) -> None:
    """Segments up to the first scan: fill bytes, marker, length, content; and the scans."""
    parts, at, exif = _Parts("a JPEG"), 2, b""
    while fill := FILL.match(image, at, at + MAX_FILL_BYTES + 1):
        marker_at = fill.end()
        parts.add("bytes between segments", MAX_FILL_BYTES, marker_at - at)
        marker = image[marker_at] if marker_at < len(image) else START_OF_SCAN
        if marker == START_OF_SCAN:
            _count_scans(image, marker_at, parts)
            break
        parts.add("segments", MAX_PARTS)
        at = marker_at + 1
        if marker in ALONE:
            continue
        content = slice(at + 2, at + max(2, int.from_bytes(image[at : at + 2], "big")))
        if marker in FRAMES:
            parts.add("frames", MAX_UNPACKED)
        elif marker in (QUANTIZATION, PHOTOSHOP):
            parts.add(f"segments of marker {marker:#x}", MAX_UNPACKED)
        elif marker == EXIF and image.startswith(EXIF_BEGINS, content.start):
            parts.add("EXIF segments", MAX_UNPACKED)
            exif += image[content][len(EXIF_BEGINS) :]
        at = content.stop
    else:
        parts.add("bytes between segments", MAX_FILL_BYTES, len(image) - at)
    _count_directories(exif, "an EXIF block")


def _count_scans(image: bytes, at: int, parts: _Parts) -> None:
    """Scans and the segments between them, from the code of the first scan's marker to the end of the picture: what is
    behind it, such as the film of a phone, is no part of it."""
    if image.count(b"\xff\xda") <= MAX_SCANS:  # nearly always, and at once
        return
    while image[at : at + 1] and image[at] != END_OF_IMAGE:
        if image[at] == START_OF_SCAN:
            parts.add("scans", MAX_SCANS)
        else:
            parts.add("segments", MAX_PARTS)
        if image[at] not in ALONE:
            at += max(2, int.from_bytes(image[at + 1 : at + 3], "big"))
        at = _next_marker(image, at + 1)


def _next_marker(image: bytes, at: int) -> int:
    """The place of the next marker's code in coded data, where FF is also followed by 0 or a restart's code."""
    n_bytes = 256
    while at + 1 < len(image):
        # Not by `re`, which takes seconds for megabytes of FF and 0.
        window = np.frombuffer(image, np.uint8, min(n_bytes, len(image) - at), at)
        places = np.flatnonzero((window[:-1] == 0xFF) & ~IN_CODED_DATA[window[1:]])
        if places.size:
            return at + int(places[0]) + 1
        at += len(window) - 1
        n_bytes = min(2 * n_bytes, 1 << 20)
    return len(image)


def _count_directories(block: bytes, file: str = "a TIFF") -> None:
    """Entries of the directories of a TIFF or an EXIF block, and the numbers in their values."""
    if block[:2] not in (b"II", b"MM") or len(block) < 16:
        return
    directory, parts = Directory(block), _Parts(file)
    number, entry, pointer, at = directory.number, directory.entry, directory.offset, directory.first
    for _ in range(MAX_DIRECTORIES):
        if not 0 < at <= len(block) - number.size:
            return
        (n_entries,) = number.unpack_from(block, at)
        parts.add("entries", MAX_PARTS, n_entries)
        first, at = at + number.size, at + number.size + n_entries * entry.size
        if at + pointer.size > len(block):
            return
        for tag, number_type, count, _ in entry.iter_unpack(block[first:at]):
            fits = count * NUMBER_BYTES.get(number_type, 0) <= len(block)  # Pillow skips what does not
            if tag in UNPACKED_TAGS and number_type in NUMBER_BYTES and fits:
                parts.add("numbers", MAX_NUMBERS, count)
        (at,) = pointer.unpack_from(block, at)


def _count_bmp(image: bytes) -> None:
    compression = int.from_bytes(image[30:34], "little")
    if compression in (1, 2) and len(image) > MAX_RLE_BYTES:
        raise DamagedPictureError(f"more than {MAX_RLE_BYTES:,} bytes came in a BMP with run lengths")


COUNTS: dict[str, Callable[[bytes], None]] = {
    "PNG": _count_png,
    "JPEG": _count_jpeg,
    "WEBP": _count_riff,
    "TIFF": _count_directories,
    "BMP": _count_bmp,
    "HEIF": _count_boxes,
    "AVIF": _count_boxes,
}
