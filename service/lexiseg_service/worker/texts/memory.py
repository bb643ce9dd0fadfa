"""What a worker remembers of texts: their rows, and which API key has asked for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

TextRows = dict[str, bytes]  # text -> row [D] of little-endian fp16
ENTRY_BYTES = 260  # of the dictionary and the key, beside text and row
MAX_MARKS = 65_536  # texts asked for, of all keys together: some 8 MB
BYTES_PER_MARK = 125


class MemoryRows:
    """LRU of rows by text tower and text, bounded by bytes; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._guard = threading.Lock()
        self.nbytes = 0

    def find(self, tower: str, texts: Iterable[str]) -> TextRows:
        """Rows that are kept, which become the most recently used."""
        found: TextRows = {}
        with self._guard:
            for text in texts:
                row = self._rows.get((tower, text))
                if row is not None:
                    found[text] = row
                    self._rows.move_to_end((tower, text))
        return found

    def keep(self, tower: str, rows: TextRows) -> None:
        """Add rows; the least recently used ones go when there is no room."""
        with self._guard:
            for text, row in rows.items():
                replaced = self._rows.pop((tower, text), None)
                self.nbytes += _cost(text, row) - (0 if replaced is None else _cost(text, replaced))
                self._rows[tower, text] = row
            while self.nbytes > self._max_bytes:
                (_, text), row = self._rows.popitem(last=False)
                self.nbytes -= _cost(text, row)


class AskedBefore:
    """LRU of what each API key has asked for: hits of the shared rows would tell it which words others use."""

    def __init__(self, max_marks: int = MAX_MARKS) -> None:
        self._max_marks = max_marks
        self._marks: OrderedDict[int, None] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Approximate bytes of all marks."""
        return BYTES_PER_MARK * len(self._marks)

    def note(self, owner: str, tower: str, texts: Iterable[str]) -> int:
        """Mark distinct texts as asked by a key; return how many were new to it."""
        with self._guard:
            before = len(self._marks)
            for mark in [hash((owner, tower, text)) for text in texts]:
                self._marks[mark] = None
                self._marks.move_to_end(mark)
            new = len(self._marks) - before
            while len(self._marks) > self._max_marks:
                self._marks.popitem(last=False)
        return new


def _cost(text: str, row: bytes) -> int:
    return len(row) + 2 * len(text) + ENTRY_BYTES
