"""Escapes in long texts of base64, as encoders of JSON write them. A parser would hold Python's lock for all of them.

What is changed here is changed in pieces, between which others have their turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BACKSLASH = b"\\"
ESCAPE = rb"\u"
LONGEST = 6  # bytes of one: \uXXXX
# What encoders escape of base64's characters, and what they set between its lines. Those who escape more of it than
# this write no base64 that anybody reads as it stands.
MEANINGS = {rb"\/": b"/", rb"\n": b"\n", rb"\r": b"\r"} | {
    rb"\u00%s" % digits: meant
    for meant, several in {b"+": (b"2B", b"2b"), b"/": (b"2F", b"2f"), b"=": (b"3D", b"3d")}.items()
    for digits in several
}
PIECE = 2**16  # bytes that are changed at once
BETWEEN = 4  # pieces until others have a turn
PAUSE = 5e-5  # seconds: who waits for the lock needs to be woken, and it is not passed on before


def unescaped(piece: bytes | bytearray) -> bytes | bytearray | None:
    """What a piece with whole escapes means; None where that cannot be base64."""
    if BACKSLASH * 2 in piece:  # of the second one nobody could tell what it belongs to
        return None
    while (at := piece.find(BACKSLASH)) >= 0:  # as often as there are different ones
        escape = bytes(piece[at : at + (LONGEST if piece[at : at + 2] == ESCAPE else 2)])
        if escape not in MEANINGS:
            return None
        piece = piece.replace(escape, MEANINGS[escape])
    return piece


def unbroken(text: bytearray) -> bytearray:
    """Without line breaks."""
    if b"\n" not in text and b"\r" not in text:
        return text
    return in_pieces(text, 0, len(text), lambda piece: piece.translate(None, b"\r\n")) or bytearray()


def in_pieces(
    text: bytes | bytearray, start: int, end: int, change: Callable[[bytes | bytearray], bytes | bytearray | None]
) -> bytearray | None:
    """A part of a text, changed; None where that of a piece is None. No piece has less than a whole escape."""
    whole, size = bytearray(end - start), 0
    pieces = 0
    while start < end:
        stop = between_escapes(text, start, min(start + PIECE, end), end)
        piece = change(text[start:stop])
        if piece is None:
            return None
        whole[size : size + len(piece)] = piece
        size += len(piece)
        start = stop
        pieces += 1
        if pieces % BETWEEN == 0:
            time.sleep(PAUSE)
    del whole[size:]
    return whole


def between_escapes(text: bytes | bytearray, start: int, stop: int, end: int) -> int:
    """The latest place up to `stop` that no escape goes across, or `end`."""
    if stop == end:
        return end
    escape = text.rfind(BACKSLASH, max(start, stop - LONGEST + 1), stop)
    return escape if escape > start else stop
