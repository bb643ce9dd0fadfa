"""The boxes that AVIF files are made of (ISO/IEC 14496-12), and how many of them a decoder may be shown.

libavif looks up each item of a list among all before it, and keeps room for each part of it. A list of 65,000 items,
200 KB, takes it 20 seconds in which it holds Python's lock, and no file is too short to name 33 million parts. So the
lists are measured before it sees them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

Span = tuple[int, int]  # where something begins and ends
FULL_BOX = 4  # bytes of version and flags
HOLDERS = {b"meta": FULL_BOX, **dict.fromkeys((b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"), 0)}
LISTS = frozenset({b"iinf", b"iloc", b"ipma", b"iref", b"grpl"})
MOST_BOXES = 4096  # of an honest file: some hundreds
LONGEST_LIST = 16_384  # bytes of all lists of one kind; one of 512 items takes 4 to 13 KB
MOST_ITEMS = 512  # a grid of 40 megapixels has a hundred
MOST_PARTS = 2048  # of all items


class Damaged(ValueError):
    """The boxes or the AV1 data do not hold together, or are too many."""


def boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, Span]]:
    """Kind, and where the body begins and ends.

    Raises:
        Damaged: one is longer than what it is in.
    """
    while at + 8 <= end:
        size, kind, body = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8], at + 8
        if size == 1:
            size, body = int.from_bytes(content[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        if stop < body or stop > end:
            raise Damaged(f"a box of {size} bytes where {end - at} are left")
        yield kind, (body, stop)
        at = stop


def whole_boxes(content: bytes) -> Iterator[tuple[bytes, Span]]:
    """Those of the file itself, up to the first that does not hold together: a decoder reads no further either."""
    with suppress(Damaged):
        yield from boxes(content, 0, len(content))


def check_boxes(content: bytes) -> None:
    """Looks at all that a decoder walks through, and at none of its data.

    Raises:
        Damaged: there are too many boxes, a list is too long, or something ends too early.
    """
    n_boxes = 0
    listed: Counter[bytes] = Counter()
    holders = [whole_boxes(content)]
    while holders:
        for kind, (at, end) in holders.pop():
            n_boxes += 1
            listed[kind] += end - at
            if n_boxes > MOST_BOXES:
                raise Damaged(f"more than {MOST_BOXES:,} boxes")
            if kind in LISTS and listed[kind] > LONGEST_LIST:
                raise Damaged(f"lists of more than {LONGEST_LIST:,} bytes")
            if kind == b"iloc":
                for _ in first_parts(content, at, end, 0):
                    pass
            if kind in HOLDERS:
                holders.append(boxes(content, at + HOLDERS[kind], end))


def first_parts(content: bytes, at: int, end: int, stored: int) -> Iterator[Span]:
    """Where the first part of each item begins and ends, as the body of an `iloc` says; `stored` is where `idat` does.

    Raises:
        Damaged: it ends too early, or there are too many items or parts.
    """
    if at + FULL_BOX + 2 > end:
        raise Damaged("a box ends too early")
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
    n_parts = 0
    for _ in range(n_items):
        take(wide)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(base_size)
        of_item = take(2)
        n_parts += of_item
        if n_parts > MOST_PARTS:  # each may take no byte at all
            raise Damaged(f"items of {n_parts:,} parts")
        for part in range(of_item):
            take(index_size)
            begin, length = base + take(offset_size) + (stored if method == 1 else 0), take(length_size)
            if part == 0:
                yield begin, begin + length if length else len(content)
