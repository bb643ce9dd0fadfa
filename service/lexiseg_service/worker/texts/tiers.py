"""What the tiers of the text cache share: their words, rows in memory, and rows on their way."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TextRows = dict[str, bytes]  # text -> one row, fp16
MOST_LISTS, LONGEST = 16, 128  # lists that are kept laid out, the latest; and texts of one
Count = Callable[[str, str, int], None]  # tier, result, texts


class Claim(NamedTuple):
    """Of the texts asked for: rows that are there by now, texts to encode here, texts that somebody else encodes."""

    rows: TextRows
    mine: list[str]
    elsewhere: list[str]


class Visit(Protocol):
    """One lookup's use of the shared tier; a tier that fails finds nothing and leaves every text to who asks."""

    def find(self, texts: Sequence[str]) -> TextRows: ...

    def claim(self, texts: Sequence[str]) -> Claim: ...

    def keep(self, rows: TextRows) -> None: ...


class SharedRows(Protocol):
    """A tier beyond this process."""

    def visit(self, width: int) -> Visit: ...


class Alone:
    """The visit of a process that shares nothing."""

    def find(self, texts: Sequence[str]) -> TextRows:
        return {}

    def claim(self, texts: Sequence[str]) -> Claim:
        return Claim({}, list(texts), [])

    def keep(self, rows: TextRows) -> None: ...


class LaidOut(NamedTuple):
    """A list, the texts in it, the rows [len(texts), D] of a tower for them, and how many of them are distinct."""

    tower: str
    asked: list[str]
    texts: tuple[str, ...]
    rows: NDArray[np.float16]
    distinct: int


class MemoryRows:
    """Rows of all towers, bounded in bytes together; the least recently used go first.

    Whoever asks with the same list again, the very same and not an equal one, has its rows as they were laid out then,
    as long as none of the rows here has gone or changed. That its texts were used is noted when it next matters.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by tower and text
        self._bytes = 0
        self._lists: OrderedDict[int, LaidOut] = OrderedDict()  # a list that is held has its id to itself
        self._list_bytes = 0  # of their rows
        self._used: dict[int, LaidOut] = {}  # of these, whose texts are still to be counted as just used
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes + self._list_bytes

    def find(self, tower: str, texts: Iterable[str]) -> TextRows:
        """Rows of those texts that are kept, which then count as just used."""
        kept: TextRows = {}
        with self._guard:
            for text in texts:
                place = tower, text
                row = self._rows.get(place)
                if row is not None:
                    kept[text] = row
                    self._rows.move_to_end(place)
        return kept

    def count(self, tower: str, texts: Iterable[str]) -> int:
        """How many of those texts are kept, which does not count as a use of them."""
        with self._guard:
            return sum(map(self._rows.__contains__, zip(repeat(tower), texts, strict=False)))

    def laid_out(self, tower: str, texts: list[str]) -> LaidOut | None:
        """The rows of a list as `lay_out` was given them, if they still hold; they then count as just used."""
        with self._guard:
            known = self._lists.get(id(texts))
            if known is None or known.asked is not texts or known.texts != (*texts,) or known.tower != tower:
                return None
            self._lists.move_to_end(id(texts))
            self._used.pop(id(texts), None)
            self._used[id(texts)] = known
            return known

    def lay_out(self, tower: str, texts: list[str], found: TextRows, rows: NDArray[np.float16]) -> None:
        """Keeps the rows of a list that is not long, where those found for it are all still here."""
        if len(texts) > LONGEST:
            return
        with self._guard:
            if any(self._rows.get((tower, text)) is not row for text, row in found.items()):
                return
            if (before := self._lists.pop(id(texts), None)) is not None:
                self._list_bytes -= before.rows.nbytes
            self._lists[id(texts)] = LaidOut(tower, texts, (*texts,), rows, len(found))
            self._list_bytes += rows.nbytes
            while len(self._lists) > MOST_LISTS or (self._lists and self.nbytes > self._max_bytes):
                place, longest_unused = self._lists.popitem(last=False)
                if place in self._used:
                    self._note_uses()
                self._list_bytes -= longest_unused.rows.nbytes

    def _forget_lists(self) -> None:
        self._lists.clear()
        self._list_bytes = 0

    def _note_uses(self) -> None:
        for known in self._used.values():
            for text in known.texts:
                self._rows.move_to_end((known.tower, text))
        self._used = {}

    def keep(self, tower: str, rows: TextRows) -> None:
        with self._guard:
            self._note_uses()
            for text, row in rows.items():
                before = self._rows.pop((tower, text), None)
                if before is not None and before != row:
                    self._forget_lists()
                self._bytes += _cost(text, row) - (0 if before is None else _cost(text, before))
                self._rows[tower, text] = row
            while self.nbytes > self._max_bytes:
                self._forget_lists()
                if self._bytes <= self._max_bytes:
                    break
                (_, text), row = self._rows.popitem(last=False)
                self._bytes -= _cost(text, row)


class InTurn:
    """A lock that is had in the order in which it was asked for.

    A plain one goes to whoever asks in the right moment: to who has just had it, if he asks again at once.
    """

    def __init__(self) -> None:
        self._waiting: deque[threading.Lock] = deque()  # who has it first
        self._guard = threading.Lock()

    def __enter__(self) -> None:
        mine = threading.Lock()
        mine.acquire()
        with self._guard:
            self._waiting.append(mine)
            if len(self._waiting) == 1:
                return
        mine.acquire()  # until whoever is before lets go

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._waiting.popleft()
            if self._waiting:
                self._waiting[0].release()


class Flight:
    """Rows that one lookup is getting, for every lookup of this process that wants them too."""

    def __init__(self) -> None:
        self._rows: TextRows = {}
        self._over = False
        self._changed = threading.Condition()

    def land(self, rows: TextRows) -> None:
        with self._changed:
            self._rows |= rows
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will land, be it done or broken off."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def landed(self, texts: Sequence[str], seconds: float) -> tuple[TextRows, bool]:
        """Rows of those texts that have landed, and whether more may; waits so long for the first of them."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or any(text in self._rows for text in texts), seconds)
            return {text: self._rows[text] for text in texts if text in self._rows}, not self._over


def _cost(text: str, row: bytes) -> int:
    return len(row) + 2 * len(text) + 260  # what the entry itself takes
