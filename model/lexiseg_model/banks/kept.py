"""Banks that were made lately: who asks again with the same words need not wait for theirs to be made again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.caches.by_list import ByList
from lexiseg_model.lru import Lru
from lexiseg_model.types import ClassEntry


class Kept(Protocol):
    """What is kept."""

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        ...


Bank = TypeVar("Bank", bound=Kept)
MOST = 16  # vocabularies, the latest asked for
LARGEST = 512 * 2**10  # bytes of rows; to compare more takes a part of what it saves

Words = tuple[tuple[ClassEntry, ...], tuple[ClassEntry, ...]]  # classes, and what competes with them
Rows = tuple[NDArray[np.floating] | None, NDArray[np.floating] | None]  # of both


class KeptBanks(Generic[Bank]):
    """Of one model whose weights and card stay as they are. Safe from any thread."""

    def __init__(self) -> None:
        self._kept: Lru[int, tuple[Words, Rows, Bank]] = Lru(MOST)  # by the hash of the words
        # Each class is asked for its own, which takes long.
        self._hashes: ByList[int] = ByList(2 * MOST)
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the banks, and of the rows that they were made of."""
        with self._guard:
            kept = self._kept.values()
        return sum(bank.nbytes + sum(part.nbytes for part in rows if part is not None) for _, rows, bank in kept)

    def once(self, words: Words, rows: Rows, make: Callable[[], Bank]) -> Bank:
        """What `make` gives, or gave for the same words and equal rows. Two who ask at once may both make it."""
        if sum(part.nbytes for part in rows if part is not None) > LARGEST:
            return make()
        place = hash(tuple([self._hashes.once(entries, partial(hash, entries)) for entries in words]))
        with self._guard:
            kept = self._kept.get(place)
        if kept is not None and kept[0] == words and all(map(_equal, kept[1], rows)):
            if all(one is other for one, other in zip(kept[1], rows, strict=True)):
                return kept[2]
            bank = kept[2]  # with these rows, for who brings the same again need not have them compared
        else:
            bank = make()
        with self._guard:
            self._kept.put(place, (words, rows, bank))
        return bank


def _equal(one: NDArray[np.floating] | None, other: NDArray[np.floating] | None) -> bool:
    if one is other or one is None or other is None:
        return one is other
    # Their bytes: numpy compares halves one by one, which takes longer than the rest of a lookup.
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
