"""How large the frames are that an AVIF's AV1 data holds: the file around them may say anything.

The decoder behind Pillow takes frames of up to 268 megapixels and shrinks them to what the file says, so the file's
word alone bounds nothing. Read are the places of its items (ISO/IEC 14496-12, `iloc`) and the sequence header with
which each begins (AV1 specification, 5.5).
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE_HEADER = 1
MOST_ITEMS = 512  # a grid of 40 megapixels has a hundred
MOST_UNITS = 8  # of one item before its sequence header; there is at most a delimiter of time
FULL_BOX = 4  # bytes of version and flags


class Damaged(ValueError):
    """The boxes or the AV1 data do not hold together."""


def largest_frame(content: bytes) -> int:
    """Pixels of the largest frame of an AVIF's items, 0 where none holds AV1.

    Raises:
        Damaged: something ends too early, or there are too many items.
    """
    try:
        meta = next((body for kind, body in _boxes(content, 0, len(content)) if kind == b"meta"), None)
        if meta is None:
            return 0
        inside = dict(_boxes(content, meta[0] + FULL_BOX, meta[1]))
        if b"iloc" not in inside:
            return 0
        stored = inside.get(b"idat", (0, 0))[0]
        return max((_frame(content, at, end) for at, end in _items(content, *inside[b"iloc"], stored)), default=0)
    except IndexError:
        raise Damaged("a box ends too early") from None


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Kind, and where the body begins and ends."""
    while at + 8 <= end:
        size, kind, body = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], at + 8
        if size == 1:
            size, body = int.from_bytes(content[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        if stop < body or stop > end:
            raise Damaged(f"a box of {size} bytes where {end - at} are left")
        yield kind, (body, stop)
        at = stop


def _items(content: bytes, at: int, end: int, stored: int) -> Iterator[tuple[int, int]]:
    """Where the first part of each item begins and ends."""
    version = content[at]
    sizes = content[at + FULL_BOX], content[at + FULL_BOX + 1]
    offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_size = sizes[1] & 15 if version else 0
    at += FULL_BOX + 2

    def take(n: int) -> int:
        nonlocal at
        if at + n > end:
            raise Damaged("the places of items end too early")
        at += n
        return int.from_bytes(content[at - n : at], "big")

    wide = 4 if version == 2 else 2
    n_items = take(wide)
    if n_items > MOST_ITEMS:
        raise Damaged(f"{n_items} items")
    for _ in range(n_items):
        take(wide)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(base_size)
        for part in range(take(2)):
            take(index_size)
            begin, length = base + take(offset_size) + (stored if method == 1 else 0), take(length_size)
            if part == 0:
                yield begin, begin + length if length else len(content)


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
