"""What the tiers of the text cache share: their words, rows in memory, and rows on their way."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol

TextRows = dict[str, bytes]  # text -> one row, fp16
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


class MemoryRows:
    """Rows of all towers, bounded in bytes together; the least recently used go first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # by tower and text
        self._bytes = 0
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes

    def find(self, tower: str, texts: Iterable[str]) -> TextRows:
        """Rows of those texts that are kept, which then count as just used."""
        with self._guard:
            kept = {text: self._rows[tower, text] for text in texts if (tower, text) in self._rows}
            for text in kept:
                self._rows.move_to_end((tower, text))
        return kept

    def count(self, tower: str, texts: Iterable[str]) -> int:
        """How many of those texts are kept, which does not count as a use of them."""
        with self._guard:
            return sum(map(self._rows.__contains__, zip(repeat(tower), texts, strict=False)))

    def keep(self, tower: str, rows: TextRows) -> None:
        with self._guard:
            for text, row in rows.items():
                before = self._rows.pop((tower, text), None)
                self._bytes += _cost(text, row) - (0 if before is None else _cost(text, before))
                self._rows[tower, text] = row
            while self._bytes > self._max_bytes:
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
