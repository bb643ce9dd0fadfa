"""The text stage, and its cache: text -> row from an LRU in memory, Redis where there is one, or the text tower.

Rows are fp16 from the moment they are encoded, so an answer has the same bits whichever level its rows come from.
A tower encodes one chunk at a time and each chunk is kept at once (single-flight): a text that several requests lack is
encoded once per process, and a request that is given up leaves its progress to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np

from lexiseg_model.resources.lru import Lru
from lexiseg_model.segmenter import Segmenter, TextRows, words_of
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.redis_link import open_link
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.job import Lookup, RowsByText
from lexiseg_service.worker.redis_rows import RedisRows

Encode = Callable[[list[str]], TextRows]
CHUNK = 64  # texts per call of the tower
MEMORY_BYTES = 64 * 2**20  # of rows in memory
ENTRY_BYTES = 260  # of the dictionary and the key, without text and row
MAX_MARKS = 65_536  # pairs of key and text, of all API keys together: some 8 MB
BYTES_PER_MARK = 125


class TextCaches:
    """The text rows of one process. Models with the same text tower share rows, all towers share the memory."""

    def __init__(self, settings: Settings, metrics: Metrics, memory_bytes: int = MEMORY_BYTES) -> None:
        self.memory: Lru[tuple[str, str], bytes] = Lru(  # tower and text -> row
            memory_bytes, lambda key, row: len(row) + 2 * len(key[1]) + ENTRY_BYTES
        )
        self.redis = None
        if settings.redis_url is not None:
            secret = settings.text_rows_key.get_secret_value().encode() if settings.text_rows_key else b""
            self.redis = RedisRows(open_link(settings, "text_cache", metrics), secret)
        # Texts that each API key has sent: hits in shared rows would tell a key which words others use.
        self.marks: Lru[int, bool] = Lru(MAX_MARKS)
        self.row_bytes: dict[str, int] = {}  # by text tower, once it has encoded a text in this process
        self.count = metrics.texts
        self._locks: dict[str, threading.Lock] = {}  # by text tower
        metrics.watch_cache("texts", lambda: self.memory.weight)
        metrics.watch_cache("asked", lambda: BYTES_PER_MARK * len(self.marks))

    @property
    def degraded(self) -> bool:
        return self.redis is not None and self.redis.link.away

    def cache_of(self, segmenter: Segmenter) -> TextCache:
        return self.space(segmenter.text_digest, words_of(segmenter).encode_texts)

    def space(self, name: str, encode: Encode) -> TextCache:
        """Rows of one length that `encode` computes, in a name space of their own."""
        return TextCache(self, name, encode, self._locks.setdefault(name, threading.Lock()))

    def close(self) -> None:
        if self.redis is not None:
            self.redis.link.close()


class TextCache:
    """The rows of one text tower (by the digest of its weights), with one model's way to encode; thread-safe."""

    def __init__(self, shared: TextCaches, tower: str, encode: Encode, lock: threading.Lock) -> None:
        self._shared = shared
        self._tower = tower
        self._encode = encode
        self._encoding = lock

    def rows(self, texts: list[str], abandoned: Callable[[], bool] = lambda: False) -> Lookup:
        """Rows of at least one text; raises DeadlineExceeded once `abandoned` returns true before a chunk."""
        lookup = self.find(texts)
        self.fetch(lookup)
        while lookup.missing:
            if abandoned():
                raise DeadlineExceeded("the deadline passed while texts were encoded")
            self.encode_chunk(lookup)
        return lookup

    def find(self, texts: list[str], owner: str = "") -> Lookup:
        """Look texts up in memory; `owner` is the API key that sends them."""
        distinct = dict.fromkeys(texts)
        rows = self._in_memory(distinct)
        missing = [text for text in distinct if text not in rows]
        self._shared.count("l1", hit=len(rows), miss=len(missing))
        return Lookup(texts, rows, missing, self._first_asked(owner, distinct) if owner else len(missing))

    def fetch(self, lookup: Lookup, owner: str = "") -> None:
        """Look up in Redis what memory lacks; from now on it is in memory."""
        redis = self._shared.redis
        if redis is None or not lookup.missing:
            return
        n_encoded = self._learn_length(lookup)
        missing = lookup.missing
        rows, errors = redis.find(self._tower, missing, self._shared.row_bytes[self._tower])
        self._keep(rows)
        self._shared.count("redis", hit=len(rows), error=errors, miss=len(missing) - len(rows) - errors)
        lookup.rows |= rows
        lookup.missing = [text for text in missing if text not in rows]
        if not owner:
            lookup.misses = len(lookup.missing) + n_encoded

    def _learn_length(self, lookup: Lookup) -> int:
        """Encode one text, if none has been in this process: only the tower knows the length; returns how many."""
        if self._tower in self._shared.row_bytes:
            return 0
        first, rest = lookup.missing[:1], lookup.missing[1:]
        lookup.missing = first
        self.encode_chunk(lookup)
        lookup.missing = rest
        return 1

    def encode_chunk(self, lookup: Lookup) -> None:
        chunk, lookup.missing = lookup.missing[:CHUNK], lookup.missing[CHUNK:]
        new_rows: RowsByText = {}
        with self._encoding:
            rows = self._in_memory(chunk)  # another request may have encoded some meanwhile
            if left := [text for text in chunk if text not in rows]:
                encoded = np.ascontiguousarray(self._encode(left), "<f2")  # [len(left), D]
                self._shared.row_bytes[self._tower] = encoded.itemsize * encoded.shape[1]
                new_rows = {text: row.tobytes() for text, row in zip(left, encoded, strict=True)}
                self._keep(new_rows)
        if new_rows and self._shared.redis is not None:
            self._shared.redis.write(self._tower, new_rows)
        lookup.rows |= rows | new_rows

    def _first_asked(self, owner: str, texts: Iterable[str]) -> int:
        """Number of texts that an API key had not sent before; from now on it has."""
        marks = [hash((owner, self._tower, text)) for text in texts]
        new = [mark for mark in marks if self._shared.marks.get(mark) is None]
        for mark in new:
            self._shared.marks.put(mark, True)
        return len(new)

    def _in_memory(self, texts: Iterable[str]) -> RowsByText:
        rows = self._shared.memory.get_all([(self._tower, text) for text in texts])
        return {text: row for (_, text), row in rows.items()}

    def _keep(self, rows: RowsByText) -> None:
        for text, row in rows.items():
            self._shared.memory.put((self._tower, text), row)
