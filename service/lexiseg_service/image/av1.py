"""How large the frames are that an AVIF's AV1 data holds: the file around them may say anything.

The decoder behind Pillow takes frames of up to 268 megapixels and shrinks them to what the file says, and a grid may
name the same frame hundreds of times and show a strip of each, so the file's word alone bounds nothing. Read are the
places of its items (ISO/IEC 14496-12, `iloc`) and the sequence header with which each begins (AV1 specification, 5.5).
"""

from __future__ import annotations

from typing import NamedTuple

from lexiseg_service.image.boxes import FULL_BOX, Damaged, boxes, check_boxes, first_parts, whole_boxes

SEQUENCE_HEADER = 1
MOST_UNITS = 8  # of one item before its sequence header; there is at most a delimiter of time


class Frames(NamedTuple):
    """Pixels of the largest frame of an AVIF's items and of all of them, 0 where none holds AV1."""

    largest: int
    together: int


def frames_of(content: bytes) -> Frames:
    """Measures the frames of an AVIF, which is safe to be shown to a decoder then.

    Raises:
        Damaged: something ends too early, or there are too many boxes, items or parts.
    """
    try:
        check_boxes(content)
        frames = [
            _frame(content, at, end)
            for kind, (begin, stop) in whole_boxes(content)
            if kind == b"meta"
            for at, end in _items(content, begin + FULL_BOX, stop)
        ]
    except IndexError:
        raise Damaged("a box ends too early") from None
    return Frames(max(frames, default=0), sum(frames))


def _items(content: bytes, at: int, end: int) -> list[tuple[int, int]]:
    """Where the first part of each item of a `meta` begins and ends."""
    inside = list(boxes(content, at, end))
    stored = next((begin for kind, (begin, _) in inside if kind == b"idat"), 0)
    return [
        part for kind, (begin, stop) in inside if kind == b"iloc" for part in first_parts(content, begin, stop, stored)
    ]


def _frame(content: bytes, at: int, end: int) -> int:
    """Pixels by the sequence header of an item; 0 of one that does not begin with AV1's units (EXIF, a grid)."""
    for _ in range(MOST_UNITS):
        if at >= min(end, len(content)):
            return 0
        head = content[at]
        at += 1 + (head >> 2 & 1)
        if head & 0x81 or not head & 2:  # no unit, or one whose length is not told
            return 0
        length = shift = 0
        while True:
            byte = content[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if not byte & 128 or shift > 56:
                break
        if head >> 3 & 15 == SEQUENCE_HEADER:
            return _sequence(content[at : at + min(length, 256)])
        at += length
    return 0


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._text = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def take(self, n: int) -> int:
        self._left -= n
        if self._left < 0:
            raise Damaged("a sequence header ends too early")
        return self._text >> self._left & ((1 << n) - 1)


def _sequence(content: bytes) -> int:
    bits = _Bits(content)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        _points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(width_bits) + 1) * (bits.take(height_bits) + 1)


def _points(bits: _Bits) -> None:
    """What stands before the size: timing and operating points."""
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):  # equal intervals: a number of variable length
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(min(zeros, 32))
        if bits.take(1):  # decoder model
            delay_bits = bits.take(5) + 1
            bits.take(42)
    displayed = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if displayed and bits.take(1):
            bits.take(4)
