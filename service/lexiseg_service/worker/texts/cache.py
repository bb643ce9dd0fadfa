"""Text -> row, through three levels: memory, Redis where there is one, the text tower.

Rows are fp16 from the moment they are encoded, so an answer has the same bits whichever level its rows come from.
A tower encodes one chunk at a time and each chunk is kept at once: a text that several requests lack is encoded once
per process, and a request that is given up leaves its progress to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.segmenter import Segmenter
from lexiseg_model.segmenter import TextRows as Encoded
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.redis_link import open_link
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts.memory import AskedBefore, MemoryRows, TextRows
from lexiseg_service.worker.texts.redis_rows import RedisRows

Rows = NDArray[np.float16]
Encode = Callable[[list[str]], Encoded]
CHUNK = 64  # texts for the tower at once
TTL_SECONDS = 30 * 86400  # that Redis keeps a row


class Lookup(NamedTuple):
    """Rows [S, D] in the order of the texts; hits and misses count distinct texts."""

    rows: Rows
    hits: int
    misses: int


class Read(NamedTuple):
    """Rows by text, and those of the texts that had to be encoded."""

    rows: TextRows
    fresh: set[str]


class TextCaches:
    """The text rows of one process. Models with the same text tower share rows, all towers share the memory."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.memory = MemoryRows(settings.text_cache_bytes)
        self.redis = None
        if settings.redis_url is not None:
            secret = settings.text_rows_key.get_secret_value().encode() if settings.text_rows_key else b""
            link = open_link(settings, "text_cache", metrics)
            self.redis = RedisRows(link, secret, TTL_SECONDS)
        self.asked = AskedBefore()
        self.count = metrics.texts
        self._locks: dict[str, threading.Lock] = {}  # by text tower
        metrics.held("asked", lambda: self.asked.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in memory."""
        return self.memory.nbytes

    @property
    def degraded(self) -> bool:
        """Redis is left alone at present."""
        return self.redis is not None and self.redis.link.away

    def of(self, segmenter: Segmenter) -> TextCache:
        """The rows of one model's text tower."""
        return self.beside(segmenter.text_digest, segmenter.encode_texts)

    def beside(self, space: str, encode: Encode) -> TextCache:
        """Rows of one length that `encode` makes, under names of their own `space`."""
        return TextCache(self, space, encode, self._locks.setdefault(space, threading.Lock()))

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
        steps = self.steps(texts, abandoned)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                rows, fresh = end.value
                return Lookup(in_order(texts, rows), len(rows) - len(fresh), len(fresh))

    def steps(self, texts: list[str], abandoned: Callable[[], bool] = lambda: False) -> Generator[None, None, Read]:
        """As `rows`, yielding after each chunk that was encoded."""
        distinct = dict.fromkeys(texts)
        known = self._stored(distinct)
        missing = [text for text in distinct if text not in known]
        for start in range(0, len(missing), CHUNK):
            if abandoned():
                raise DeadlineExceeded("the deadline passed while texts were encoded")
            known |= self._encode_chunk(missing[start : start + CHUNK])
            yield
        return Read(known, set(missing))

    def is_known(self, texts: list[str]) -> int:
        """Number of texts whose rows are in memory."""
        rows = self._shared.memory.find(self._tower, texts)
        return sum(text in rows for text in texts)

    def first_asked(self, owner: str, texts: Iterable[str]) -> int:
        """Number of texts that the owner had not asked for before; from now on it has."""
        return self._shared.asked.note(owner, self._tower, texts)

    def _stored(self, texts: dict[str, None]) -> TextRows:
        """Rows in memory or Redis; those of Redis are in memory from now on."""
        memory, redis, count = self._shared.memory, self._shared.redis, self._shared.count
        known = memory.find(self._tower, texts)
        missing = [text for text in texts if text not in known]
        count("l1", hit=len(known), miss=len(missing))
        if redis is None or not missing:
            return known
        shared, errors = redis.find(self._tower, missing)
        memory.keep(self._tower, shared)
        count("redis", hit=len(shared), error=errors, miss=len(missing) - len(shared) - errors)
        return known | shared

    def _encode_chunk(self, chunk: list[str]) -> TextRows:
        with self._encoding:
            known = self._shared.memory.find(self._tower, chunk)  # another request may have encoded some meanwhile
            left = [text for text in chunk if text not in known]
            if not left:
                return known
            rows = np.ascontiguousarray(self._encode(left), "<f2")  # [len(left), D]
            made = {text: row.tobytes() for text, row in zip(left, rows, strict=True)}
            self._shared.memory.keep(self._tower, made)
        if self._shared.redis is not None:
            self._shared.redis.keep(self._tower, made)
        return known | made


def in_order(texts: list[str], rows: TextRows) -> Rows:
    """Rows [len(texts), D] of at least one text."""
    return np.frombuffer(bytearray().join([rows[text] for text in texts]), "<f2").reshape(len(texts), -1)
