"""A large JSON of lists, entry by entry: no more of it is in memory than one entry and a piece of the file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

PIECE = 1 << 20  # characters that are read together
DECODER = json.JSONDecoder()


def entries(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Every entry of the lists that a file's outermost object names so, in the order of the file, each with its name.

    Raises:
        ValueError: it is no JSON, or its outermost value no object.
    """
    with path.open(encoding="utf-8-sig") as file:
        text = _Text(file)
        text.take("{")
        while not text.took("}"):
            name = text.value()
            text.take(":")
            if text.took("["):
                while not text.took("]"):
                    entry = text.value()
                    if name in wanted:
                        yield name, entry
                    text.took(",")
            else:
                text.value()
            text.took(",")


class _Text:
    """What was read of a file and not yet taken."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._read = ""
        self._at = 0

    def took(self, sign: str) -> bool:
        """Takes a sign, if it comes next."""
        if self._next() != sign:
            return False
        self._at += 1
        return True

    def take(self, sign: str) -> None:
        """Raises ValueError where another one comes."""
        if not self.took(sign):
            raise ValueError(f"expected {sign!r}, came {self._next()[:1]!r}")

    def value(self) -> Any:
        """The next value of any kind, whole."""
        self._next()
        while True:
            try:
                value, end = DECODER.raw_decode(self._read, self._at)
                # Of a number the rest may be still to come.
                if end < len(self._read) or not self._more():
                    self._at = end
                    return value
            except ValueError:
                if not self._more():
                    raise

    def _next(self) -> str:
        """The next sign that is no space; empty at the end."""
        while True:
            while self._at < len(self._read) and self._read[self._at].isspace():
                self._at += 1
            if self._at < len(self._read) or not self._more():
                return self._read[self._at : self._at + 1]

    def _more(self) -> bool:
        """Reads on, as much again as a value has so far; False at the end of the file."""
        left = self._read[self._at :]
        piece = self._file.read(max(PIECE, len(left)))
        self._read, self._at = left + piece, 0
        return bool(piece)
