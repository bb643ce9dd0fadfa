"""Long texts of base64 in JSON, which are cut out before the rest is parsed: a parser holds Python's lock to its end.

Between two quotes nothing but base64 and escapes can stand in a text alone, so no parser is needed to find it. Each is
read in pieces, between which others have their turn, and put back into what the rest was parsed to.
"""

from __future__ import annotations

import json
import secrets
import string
from typing import Any

LONG = 4 * 2**10  # bytes from which a text is cut out
PIECE = 2**16  # bytes that are read at once
ESCAPE = b"\\u"
LONGEST_ESCAPE = 6  # \uXXXX
SURROGATES = (b"\\ud", b"\\uD")  # halves of characters: two pieces could have one each
LATEST_COMMA = 64  # bytes into a data URI: where `base64,` stands
BACKSLASH = b"\\"
BASE64 = (string.ascii_letters + string.digits + "+/-_=").encode() + BACKSLASH


class LongTexts:
    """JSON without its long texts.

    Attributes:
        rest: the JSON, with a short mark in place of each text; where that is more than `most` bytes, its beginning.
        n_escapes: characters as \\uXXXX in the texts and in the rest.
    """

    def __init__(self, body: bytes, most: int, most_escapes: int) -> None:
        """Nothing is read for long that has more than `most` bytes beside the texts, or more escapes than that."""
        self._marks = secrets.token_hex(12)  # which nobody who wrote the body can know
        self._texts: dict[str, str] = {}
        self._cuts: list[tuple[int, int]] = []  # where the rest goes on behind a mark, and how far that is in the body
        self.n_escapes = 0
        self._most_escapes = most_escapes
        self._size = 0
        self._parts: list[bytes] = []
        self._cut(body, most)
        self.rest = b"".join(self._parts)
        self.n_escapes += _n_escapes(self.rest)

    def put_back(self, parsed: Any) -> Any:
        """What the body would have been parsed to, of what the rest was parsed to."""
        if not self._texts:
            return parsed
        if isinstance(parsed, dict):
            return {self._whole(name): self.put_back(value) for name, value in parsed.items()}
        if isinstance(parsed, list):
            return [self.put_back(value) for value in parsed]
        return self._whole(parsed) if isinstance(parsed, str) else parsed

    def place(self, at: int) -> int:
        """Where in the body a place of the rest is."""
        before = [there - here for here, there in self._cuts if here <= at]
        return at + (before[-1] if before else 0)

    def _whole(self, text: str) -> str:
        start = text.rfind(self._marks)
        return text if start < 0 else text[:start] + self._texts[text[start:]]

    def _cut(self, body: bytes, most: int) -> None:
        kept = quote = 0  # what is behind `kept` is not in the rest yet
        while self._size + quote - kept <= most and self.n_escapes <= self._most_escapes:
            near = body.rfind(b'"', quote + 1, quote + 1 + LONG)
            if near >= 0:
                quote = near
                continue
            end = body.find(b'"', quote + 1 + LONG)
            if end < 0:
                break
            start = quote + 1 + _prefix(body[quote + 1 : quote + 1 + LATEST_COMMA])
            text = self._read(body, start, end)
            if text is not None:
                mark = f"{self._marks}{len(self._texts)}"
                self._texts[mark] = text
                self._keep(body[kept:start], mark.encode())
                self._cuts.append((self._size, end))
                kept = end
            quote = end
        self._keep(body[kept : kept + most + 1])

    def _keep(self, *parts: bytes) -> None:
        self._parts += parts
        self._size += sum(map(len, parts))

    def _read(self, body: bytes, start: int, end: int) -> str | None:
        """The text between two quotes; None where it holds anything but base64, or the second quote is escaped."""
        pieces, before = [], self.n_escapes
        while start < end:
            stop = _between_escapes(body, start, min(start + PIECE, end), end)
            piece = body[start:stop]
            self.n_escapes += _n_escapes(piece)
            if self.n_escapes > self._most_escapes:
                return None
            text = None if piece.translate(None, BASE64) else _text_of(piece)
            if text is None:
                self.n_escapes = before  # it stays in the rest, with its escapes
                return None
            pieces.append(text)
            start = stop
        return "".join(pieces)


def _n_escapes(piece: bytes) -> int:
    return piece.count(ESCAPE) if BACKSLASH in piece else 0


def _text_of(piece: bytes) -> str | None:
    """What stands for it in JSON; None where its escapes are none of whole characters."""
    if BACKSLASH not in piece:
        return piece.decode()
    if any(half in piece for half in SURROGATES):
        return None
    try:
        text: str = json.loads(b'"%s"' % piece)
    except ValueError:
        return None
    return text


def _prefix(text: bytes) -> int:
    """Bytes of a data URI before its base64."""
    return text.find(b"base64,") + len(b"base64,") if b"base64," in text else 0


def _between_escapes(body: bytes, start: int, stop: int, end: int) -> int:
    """The latest place up to `stop` that no escape goes across, or `end`."""
    if stop == end:
        return end
    for escape in range(stop - 1, stop - LONGEST_ESCAPE, -1):
        if body[escape : escape + 1] == BACKSLASH:
            # Of a row of them each second one is escaped by the one before.
            row = escape + 1 - start - len(body[start : escape + 1].rstrip(BACKSLASH))
            return escape if row % 2 else stop
    return stop
