"""Rows of the text tower through the tiers, each asked for what the one before does not know.

    memory -> a lookup of this process that is already getting them -> rows the fleet shares -> the tower

A text that several miss at once is encoded once, in this process and in the fleet. The tower is asked in chunks, and
each chunk is kept as it is done: a lookup that is given up leaves what it has for the next. Whoever finds its rows in
a tier waits for no tower.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.segmenter import TextRows as Encoded
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.worker.texts.tiers import Alone, Count, Flight, MemoryRows, SharedRows, TextRows, Visit

Rows = NDArray[np.float16]
CHUNK = 128  # texts for the tower at once
PATIENCE = 2.0  # seconds without a new row from whoever has claimed it
POLL = 0.05


class Lookup(NamedTuple):
    """Rows in the order of the texts, and how many of the distinct texts were in a tier."""

    rows: Rows
    hits: int
    misses: int


class Tiers:
    """What all lookups of one text tower share, whichever model asks: the tiers, and the lookups on their way."""

    def __init__(
        self,
        tower: str,
        memory: MemoryRows,
        shared: SharedRows | None = None,
        count: Count = lambda tier, result, n: None,
    ) -> None:
        self.tower = tower  # digest of its weights
        self.memory = memory
        self.shared = shared
        self.count = count
        self.flights: dict[str, Flight] = {}
        self.guard = threading.Lock()
        self.encoding = threading.Lock()
        self.width: int | None = None  # of a row, once known

    def known(self, texts: Iterable[str]) -> TextRows:
        """Rows that are in memory."""
        return self.memory.find(self.tower, texts)


class TextCache:
    """Text -> row, for one model with its way to encode; safe to use from any thread."""

    def __init__(self, encode: Callable[[list[str]], Encoded], tiers: Tiers, patience: float = PATIENCE) -> None:
        self._encode = encode
        self._tiers = tiers
        self._patience = patience

    def rows(self, texts: list[str], abandoned: Callable[[], bool] = lambda: False) -> Lookup:
        """Rows [len(texts), D] of at least one text.

        Raises:
            DeadlineExceeded: `abandoned` said between two chunks that nobody waits for them.
        """
        distinct = dict.fromkeys(texts)
        known = self._tiers.known(distinct)
        self._tiers.count("l1", "hit", len(known))
        self._tiers.count("l1", "miss", len(distinct) - len(known))
        misses = 0
        while missing := _without(distinct, known):
            flight, mine, others = self._board(missing)
            try:
                for rows, is_new in self._get(mine, abandoned):
                    self._tiers.memory.keep(self._tiers.tower, rows)
                    flight.land(rows)
                    known |= rows
                    misses += len(rows) if is_new else 0
            finally:
                with self._tiers.guard:
                    for text in mine:
                        del self._tiers.flights[text]
                flight.end()
            # Only now: two lookups that want each other's texts must not both wait first.
            for other, wanted in others.items():
                while (landed := other.wait(wanted, POLL)) is None:
                    _raise_if(abandoned)
                known |= landed  # what is lacking, its lookup broke off: it is got here in the next round
                misses += len(landed)
        together = bytearray().join([known[text] for text in texts])
        return Lookup(np.frombuffer(together, np.float16).reshape(len(texts), -1), len(distinct) - misses, misses)

    def _board(self, texts: list[str]) -> tuple[Flight, list[str], dict[Flight, list[str]]]:
        """A flight, the texts that it is to get, and those that other flights are already getting."""
        flight, mine = Flight(), []
        others: dict[Flight, list[str]] = {}
        with self._tiers.guard:
            for text in texts:
                flying = self._tiers.flights.setdefault(text, flight)
                if flying is flight:
                    mine.append(text)
                else:
                    others.setdefault(flying, []).append(text)
        return flight, mine, others

    def _get(self, texts: list[str], abandoned: Callable[[], bool]) -> Iterator[tuple[TextRows, bool]]:
        """Rows of all the texts, some at a time as they come, and whether they are new to the tiers."""
        landed = self._tiers.known(texts)  # by a flight that ended just before this one was boarded
        yield landed, False
        left = _without(texts, landed)
        if not left:
            return
        visit = self._visit()
        stored = visit.find(left)
        yield stored, False
        elsewhere: list[str] = []
        for chunk in _chunks(_without(left, stored)):
            _raise_if(abandoned)
            claim = visit.claim(chunk)
            elsewhere += claim.elsewhere
            yield claim.rows, True
            if claim.mine:
                yield self._ask_tower(claim.mine, visit), True
        for rows in self._await(elsewhere, visit, abandoned):
            yield rows, True

    def _await(self, texts: list[str], visit: Visit, abandoned: Callable[[], bool]) -> Iterator[TextRows]:
        """Rows that others have claimed; what does not come is encoded here, so that nobody waits for ever."""
        last_news = time.monotonic()
        while texts and time.monotonic() - last_news < self._patience:
            _raise_if(abandoned)
            claim = visit.claim(texts[:CHUNK])  # a claim that has lapsed is taken over
            if claim.mine:
                yield self._ask_tower(claim.mine, visit)
            if claim.rows:
                yield claim.rows
            if claim.rows or claim.mine:
                texts = claim.elsewhere + texts[CHUNK:]
                last_news = time.monotonic()
            else:
                time.sleep(POLL)
        for chunk in _chunks(texts):
            _raise_if(abandoned)
            yield self._ask_tower(chunk, visit)

    def _visit(self) -> Visit:
        if self._tiers.shared is None:
            return Alone()
        if self._tiers.width is None:  # what the tower says, not what a shared value says
            with self._tiers.encoding:
                self._tiers.width = self._encode(["width"]).shape[1]
        return self._tiers.shared.visit(self._tiers.width)

    def _ask_tower(self, texts: list[str], visit: Visit) -> TextRows:
        with self._tiers.encoding:  # one chunk at a time: a few texts need not wait for a long list
            rows = np.ascontiguousarray(self._encode(texts), np.float16)
        fresh = {text: row.tobytes() for text, row in zip(texts, rows, strict=True)}
        visit.keep(fresh)
        return fresh


def _without(texts: Sequence[str] | dict[str, None], known: TextRows) -> list[str]:
    return [text for text in texts if text not in known]


def _chunks(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK))


def _raise_if(abandoned: Callable[[], bool]) -> None:
    if abandoned():
        raise DeadlineExceeded("the deadline passed while texts were encoded")
