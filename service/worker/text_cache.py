"""Rows of the text tower, kept in memory: the least recently used go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float16]


class Lookup(NamedTuple):
    """Rows in the order of the texts, and how many of the distinct texts were known."""

    rows: Rows
    hits: int
    misses: int


class TextCache:
    """Text -> row, bounded in bytes; a text that several requests miss at once is encoded once."""

    def __init__(self, encode: Callable[[list[str]], Rows], max_bytes: int) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._rows: OrderedDict[str, Rows] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()
        self._encoding = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes

    def rows(self, texts: list[str]) -> Lookup:
        """Rows [len(texts), D] from the cache; what is missing is encoded in one go."""
        distinct = dict.fromkeys(texts)
        found = self._find(distinct)
        hits = len(found)
        if hits < len(distinct):
            # Whoever waits here finds on entering what the one before has just encoded.
            with self._encoding:
                found |= self._find({text: None for text in distinct if text not in found})
                missing = [text for text in distinct if text not in found]
                if missing:
                    fresh = dict(zip(missing, self._encode(missing), strict=True))
                    self._keep(fresh)
                    found |= fresh
        return Lookup(np.stack([found[text] for text in texts]), hits, len(distinct) - hits)

    def _find(self, texts: dict[str, None]) -> dict[str, Rows]:
        with self._guard:
            known = {text: self._rows[text] for text in texts if text in self._rows}
            for text in known:
                self._rows.move_to_end(text)
        return known

    def _keep(self, fresh: dict[str, Rows]) -> None:
        with self._guard:
            for text, row in fresh.items():
                self._rows[text] = row.copy()  # a view would keep its whole batch alive
                self._bytes += _cost(text, row)
            while self._bytes > self._max_bytes and self._rows:
                self._bytes -= _cost(*self._rows.popitem(last=False))


def _cost(text: str, row: Rows) -> int:
    return row.nbytes + 2 * len(text) + 200  # what the entry itself takes
