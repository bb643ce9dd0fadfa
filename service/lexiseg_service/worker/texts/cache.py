"""Rows of the text tower through the tiers, each asked for what the one before does not know.

    memory -> a lookup of this process that is already getting them -> rows the fleet shares -> the tower

A text that several miss at once is encoded once, in this process and in the fleet. The tower is asked in chunks, and
each chunk is kept as it is done: a lookup that is given up leaves what it has for the next. Between two chunks others
have their turn (`steps`), and whoever finds its rows in a tier waits for no tower. A text that is far down in another
lookup's long list is not waited for, but encoded where it is wanted first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.segmenter import TextRows as Encoded
from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.worker.texts.asked import AskedBefore
from lexiseg_service.worker.texts.tiers import Alone, Count, Flight, InTurn, MemoryRows, SharedRows, TextRows, Visit

Rows = NDArray[np.float16]
CHUNK = 64  # texts for the tower at once
PATIENCE = 2.0  # seconds without a new row from whoever has claimed it
PATIENCE_HERE = 0.3  # likewise, with another lookup of this process
POLL = 0.05


class Lookup(NamedTuple):
    """Rows in the order of the texts, and how many of the distinct texts were in a tier."""

    rows: Rows
    hits: int
    misses: int


class Read(NamedTuple):
    """Rows by text, and those of the texts that were in no tier."""

    rows: TextRows
    fresh: set[str]


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
        self.encoding = InTurn()
        self.width: int | None = None  # of a row, once known

    def known(self, texts: Iterable[str]) -> TextRows:
        """Rows that are in memory."""
        return self.memory.find(self.tower, texts)


class TextCache:
    """Text -> row, for one model with its way to encode; safe to use from any thread."""

    def __init__(
        self,
        encode: Callable[[list[str]], Encoded],
        tiers: Tiers,
        patience: float = PATIENCE,
        patience_here: float = PATIENCE_HERE,
        encoded: Callable[[int, float], object] = lambda n_texts, seconds: None,
        asked: AskedBefore | None = None,
    ) -> None:
        self._encode = encode
        self._tiers = tiers
        self._patience = patience
        self._patience_here = patience_here
        self._encoded = encoded  # hears what each chunk took
        self._asked = asked or AskedBefore()

    def rows(self, texts: list[str], abandoned: Callable[[], bool] = lambda: False) -> Lookup:
        """Rows [len(texts), D] of at least one text.

        Raises:
            DeadlineExceeded: `abandoned` said between two chunks that nobody waits for them.
        """
        kept = self._tiers.memory.laid_out(self._tiers.tower, texts)
        if kept is not None:
            self._tiers.count("l1", "hit", kept.distinct)
            return Lookup(kept.rows, kept.distinct, 0)
        steps = self.steps(texts, abandoned)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                read: Read = end.value
                break
        rows = in_order(texts, read.rows)
        self._tiers.memory.lay_out(self._tiers.tower, texts, read.rows, rows)
        return Lookup(rows, len(read.rows) - len(read.fresh), len(read.fresh))

    def steps(self, texts: list[str], abandoned: Callable[[], bool] = lambda: False) -> Generator[None, None, Read]:
        """As `rows`, one chunk of the tower or one short wait at a time.

        Raises:
            DeadlineExceeded: `abandoned` said between two chunks that nobody waits for them.
        """
        distinct = dict.fromkeys(texts)
        known = self._tiers.known(distinct)
        self._tiers.count("l1", "hit", len(known))
        self._tiers.count("l1", "miss", len(distinct) - len(known))
        fresh: set[str] = set()
        while missing := _without(distinct, known):
            flight, mine, others = self._board(missing)
            try:
                for rows, is_new in self._kept(mine, abandoned):
                    flight.land(rows)
                    known |= rows
                    if is_new and rows:
                        fresh |= rows.keys()
                        yield
            finally:
                with self._tiers.guard:
                    for text in mine:
                        del self._tiers.flights[text]
                flight.end()
            # Only now: two lookups that want each other's texts must not both wait first.
            for other, wanted in others.items():
                landed = yield from self._from_other(other, wanted, abandoned)
                known |= landed  # what is lacking, its lookup broke off: it is got here in the next round
                fresh |= landed.keys()
        return Read(known, fresh)

    def is_known(self, texts: list[str]) -> int:
        """How many of the texts are in memory; counts as no use of them."""
        return self._tiers.memory.count(self._tiers.tower, texts)

    def first_asked(self, owner: str, texts: Iterable[str]) -> int:
        """How many of the distinct texts the owner had not asked for before; from now on it has."""
        return self._asked.note(owner, self._tiers.tower, texts)

    def _from_other(
        self, other: Flight, texts: list[str], abandoned: Callable[[], bool]
    ) -> Generator[None, None, TextRows]:
        """Rows that another lookup is getting or, broken off, has got; also those that it does not come to soon."""
        rows: TextRows = {}
        last_news = time.monotonic()
        while left := _without(texts, rows):
            landed, more = other.landed(left, POLL)
            rows |= landed
            if not more:
                break
            if landed:
                last_news = time.monotonic()
            elif time.monotonic() - last_news > self._patience_here:
                for got, _ in self._kept(left, abandoned):
                    rows |= got
                    yield
                break
            _raise_if(abandoned)
            yield
        return rows

    def _kept(self, texts: list[str], abandoned: Callable[[], bool]) -> Iterator[tuple[TextRows, bool]]:
        """As `_get`; what comes is in memory from then on."""
        for rows, is_new in self._get(texts, abandoned):
            self._tiers.memory.keep(self._tiers.tower, rows)
            yield rows, is_new

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
            asked = self._tiers.known(texts)  # another lookup may have been faster
            if left := _without(texts, asked):
                began = time.monotonic()
                rows = np.ascontiguousarray(self._encode(left), np.float16)
                self._encoded(len(left), time.monotonic() - began)
                asked |= {text: row.tobytes() for text, row in zip(left, rows, strict=True)}
                self._tiers.memory.keep(self._tiers.tower, asked)  # before the next may ask for them
        visit.keep(asked)
        return asked


def in_order(texts: list[str], rows: TextRows) -> Rows:
    """Rows [len(texts), D] of at least one text."""
    together = bytearray().join([rows[text] for text in texts])
    return np.frombuffer(together, np.float16).reshape(len(texts), -1)


def _without(texts: Sequence[str] | dict[str, None], known: TextRows) -> list[str]:
    return [text for text in texts if text not in known]


def _chunks(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK))


def _raise_if(abandoned: Callable[[], bool]) -> None:
    if abandoned():
        raise DeadlineExceeded("the deadline passed while texts were encoded")
