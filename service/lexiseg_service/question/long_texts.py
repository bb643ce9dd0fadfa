"""Long texts of base64 in JSON, which are cut out before the rest is parsed: a parser holds Python's lock to its end.

    body -> rest, with a mark in place of each text -> parsed -> texts put back, or what they stand for

Between two quotes nothing but base64 and escapes can stand in a text alone, so no parser is needed to find it. It is
decoded from where it stands in the body, without the lock: no text of megabytes is made of it where nobody needs one.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Container
from typing import Any, NamedTuple

from lexiseg_service.question.base64_text import DATA_URI, Encoded, decoded
from lexiseg_service.question.escapes import BACKSLASH, ESCAPE, in_pieces, unbroken, unescaped

LONG = 4 * 2**10  # bytes from which a text is cut out
LATEST_COMMA = 64  # bytes into a data URI: where `base64,` stands
# URL-safe base64 as well: who sends that is to hear what is wrong with it.
BASE64 = (string.ascii_letters + string.digits + "+/-_=").encode() + BACKSLASH
HOLDERS = (str, list, dict)  # of which a text may be part


class _Text(NamedTuple):
    written: memoryview  # without escapes
    content: bytes | None  # None: it is no base64 after all, though made of its characters


class LongTexts:
    """JSON without its long texts.

    Attributes:
        rest: the JSON, with a short mark in place of each text; where that is more than `most` bytes, its beginning.
        n_escapes: characters as \\uXXXX in the texts and in the rest.
    """

    def __init__(self, body: bytes | bytearray, most: int, most_escapes: int) -> None:
        """Nothing is read for long that has more than `most` bytes beside the texts, or more escapes than that."""
        self._marks = secrets.token_hex(12)  # which nobody who wrote the body can know
        self._texts: dict[str, _Text] = {}
        self._cuts: list[tuple[int, int]] = []  # where the rest goes on behind a mark, and how far that is in the body
        self.n_escapes = 0
        self._most_escapes = most_escapes
        self._size = 0
        self._parts: list[bytes | bytearray] = []
        self._cut(body, most)
        self.rest = b"".join(self._parts)
        self.n_escapes += self.rest.count(ESCAPE)

    def put_back(self, parsed: Any, encoded: Container[str] = ()) -> Any:
        """What the body would have been parsed to, of what the rest was parsed to.

        Args:
            parsed: the rest.
            encoded: names of values that come as `Encoded` where they are long, and base64 with or without a data URI.

        Raises:
            ValueError: such a text stands for a name.
        """
        if not self._texts:
            return parsed
        if isinstance(parsed, dict):
            if any(self._marks in name for name in parsed):
                raise ValueError(f"a name of {LONG:,} characters or more")
            return {
                name: self._encoded(value)
                if name in encoded and isinstance(value, str)
                else self.put_back(value, encoded)
                for name, value in parsed.items()
            }
        if isinstance(parsed, list):
            return [
                self.put_back(value, encoded) if value and isinstance(value, HOLDERS) else value for value in parsed
            ]
        return self._whole(parsed) if isinstance(parsed, str) else parsed

    def place(self, at: int) -> int:
        """Where in the body a place of the rest is."""
        before = [there - here for here, there in self._cuts if here <= at]
        return at + (before[-1] if before else 0)

    def _whole(self, text: str) -> str:
        start = text.rfind(self._marks)
        return text if start < 0 else text[:start] + str(self._texts[text[start:]].written, "ascii")

    def _encoded(self, text: str) -> str | Encoded:
        start = text.rfind(self._marks)
        content = self._texts[text[start:]].content if start >= 0 else None
        if content is None or (start and DATA_URI.fullmatch(text[:start]) is None):
            return self._whole(text)
        return Encoded(content)

    def _cut(self, body: bytes | bytearray, most: int) -> None:
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

    def _keep(self, *parts: bytes | bytearray) -> None:
        self._parts += parts
        self._size += sum(map(len, parts))

    def _read(self, body: bytes | bytearray, start: int, end: int) -> _Text | None:
        """The text between two quotes; None where it holds anything but base64, or the second quote is escaped."""
        if body.find(BACKSLASH, start, end) < 0:
            written = unbroken_text = memoryview(body)[start:end]
        else:
            before = self.n_escapes
            meant = in_pieces(body, start, end, self._unescaped)
            if meant is None:
                if self.n_escapes <= self._most_escapes:
                    self.n_escapes = before  # it stays in the rest, with its escapes
                return None
            written, unbroken_text = memoryview(meant), memoryview(unbroken(meant))
        try:
            return _Text(written, decoded(unbroken_text))
        except ValueError:
            others = in_pieces(body, start, end, lambda piece: piece.translate(None, BASE64))
            return None if others else _Text(written, None)

    def _unescaped(self, piece: bytes | bytearray) -> bytes | bytearray | None:
        self.n_escapes += piece.count(ESCAPE)
        return None if self.n_escapes > self._most_escapes else unescaped(piece)


def _prefix(text: bytes | bytearray) -> int:
    """Bytes of a data URI before its base64."""
    return text.find(b"base64,") + len(b"base64,") if b"base64," in text else 0
