"""Text -> row, through three levels: an LRU in memory, Redis where there is one, the text tower.

Rows are fp16 from the moment they are encoded, so an answer has the same bits whichever level its rows come from.
A tower encodes one chunk at a time and each chunk is kept at once (single-flight): a text that several requests lack is
encoded once per process, and a request that is given up leaves its progress to the next.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.segmenter import Segmenter
from lexiseg_model.segmenter import TextRows as Encoded
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.redis_link import open_link
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts.redis_rows import RedisRows, TextRows

Rows = NDArray[np.float16]
Encode = Callable[[list[str]], Encoded]
CHUNK = 64  # texts per call of the tower
MEMORY_BYTES = 64 * 2**20  # of rows in memory
TTL_SECONDS = 30 * 86400  # of a row in Redis
ENTRY_BYTES = 260  # of the dictionary and the key, beside text and row
MAX_MARKS = 65_536  # pairs of key and text, of all API keys together: some 8 MB
BYTES_PER_MARK = 125


@dataclass
class Lookup:
    """Rows by text, and the texts that are still to be encoded. `fresh`: texts that no cache had."""

    texts: list[str]  # as asked for, with repetitions
    rows: TextRows
    missing: list[str]
    fresh: set[str] = field(default_factory=set)

    @property
    def in_order(self) -> Rows:
        """Rows [len(texts), D] of at least one text."""
        return stacked(self.texts, self.rows)

    @property
    def misses(self) -> int:
        """Distinct texts that had to be encoded."""
        return len(self.fresh)

    @property
    def hits(self) -> int:
        """Distinct texts that a cache had."""
        return len(self.rows) - len(self.fresh)


class MemoryRows:
    """LRU of rows by text tower and text, bounded by bytes; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._guard = threading.Lock()
        self.nbytes = 0

    def find(self, tower: str, texts: Iterable[str]) -> TextRows:
        """Rows in the cache, which become the most recently used."""
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
    """LRU of the texts that each API key has sent: hits in shared rows would tell a key which words others use."""

    def __init__(self, max_marks: int = MAX_MARKS) -> None:
        self._max_marks = max_marks
        self._marks: OrderedDict[int, None] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Approximate bytes of all marks."""
        return BYTES_PER_MARK * len(self._marks)

    def note(self, owner: str, tower: str, texts: Iterable[str]) -> int:
        """Mark distinct texts as sent by a key; return how many were new to it."""
        with self._guard:
            before = len(self._marks)
            for mark in [hash((owner, tower, text)) for text in texts]:
                self._marks[mark] = None
                self._marks.move_to_end(mark)
            new = len(self._marks) - before
            while len(self._marks) > self._max_marks:
                self._marks.popitem(last=False)
        return new


class TextCaches:
    """The text rows of one process. Models with the same text tower share rows, all towers share the memory."""

    def __init__(self, settings: Settings, metrics: Metrics, memory_bytes: int = MEMORY_BYTES) -> None:
        self.memory = MemoryRows(memory_bytes)
        self.redis = None
        if settings.redis_url is not None:
            secret = settings.text_rows_key.get_secret_value().encode() if settings.text_rows_key else b""
            self.redis = RedisRows(open_link(settings, "text_cache", metrics), secret, TTL_SECONDS)
        self.asked = AskedBefore()
        self.count = metrics.texts
        self._locks: dict[str, threading.Lock] = {}  # by text tower
        metrics.held("texts", lambda: self.memory.nbytes)
        metrics.held("asked", lambda: self.asked.nbytes)

    @property
    def degraded(self) -> bool:
        """Whether the circuit breaker of Redis is open."""
        return self.redis is not None and self.redis.link.away

    def of(self, segmenter: Segmenter) -> TextCache:
        """The rows of one model's text tower."""
        return self.space(segmenter.text_digest, segmenter.encode_texts)

    def space(self, name: str, encode: Encode) -> TextCache:
        """Rows of one length that `encode` computes, in a name space of their own."""
        return TextCache(self, name, encode, self._locks.setdefault(name, threading.Lock()))

    def close(self) -> None:
        """Close the connections to Redis."""
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
        while lookup.missing:
            if abandoned():
                raise DeadlineExceeded("the deadline passed while texts were encoded")
            self.encode_chunk(lookup)
        return lookup

    def find(self, texts: list[str]) -> Lookup:
        """Look texts up in memory and Redis; rows from Redis are in memory from now on."""
        memory, redis, count = self._shared.memory, self._shared.redis, self._shared.count
        distinct = dict.fromkeys(texts)
        rows = memory.find(self._tower, distinct)
        missing = [text for text in distinct if text not in rows]
        count("l1", hit=len(rows), miss=len(missing))
        if redis is not None and missing:
            shared, errors = redis.find(self._tower, missing)
            memory.keep(self._tower, shared)
            count("redis", hit=len(shared), error=errors, miss=len(missing) - len(shared) - errors)
            rows |= shared
            missing = [text for text in missing if text not in shared]
        return Lookup(texts, rows, missing, set(missing))

    def encode_chunk(self, lookup: Lookup) -> None:
        """Encode the next chunk of a lookup's missing texts."""
        chunk, lookup.missing = lookup.missing[:CHUNK], lookup.missing[CHUNK:]
        made: TextRows = {}
        with self._encoding:
            rows = self._shared.memory.find(self._tower, chunk)  # another request may have encoded some meanwhile
            if left := [text for text in chunk if text not in rows]:
                encoded = np.ascontiguousarray(self._encode(left), "<f2")  # [len(left), D]
                made = {text: row.tobytes() for text, row in zip(left, encoded, strict=True)}
                self._shared.memory.keep(self._tower, made)
        if made and self._shared.redis is not None:
            self._shared.redis.keep(self._tower, made)
        lookup.rows |= rows | made

    def n_known(self, texts: Iterable[str]) -> int:
        """Number of distinct texts whose rows are in memory."""
        return len(self._shared.memory.find(self._tower, texts))

    def first_asked(self, owner: str, texts: Iterable[str]) -> int:
        """Number of texts that an API key had not sent before; from now on it has."""
        return self._shared.asked.note(owner, self._tower, texts)


def stacked(texts: list[str], rows: TextRows) -> Rows:
    """Rows [len(texts), D] of at least one text, in the order of the texts."""
    return np.frombuffer(bytearray().join([rows[text] for text in texts]), "<f2").reshape(len(texts), -1)


def _cost(text: str, row: bytes) -> int:
    return len(row) + 2 * len(text) + ENTRY_BYTES
