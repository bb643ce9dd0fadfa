"""Banks that were made lately: who asks again with the same words need not wait for theirs to be made again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

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
        self._kept: OrderedDict[int, tuple[Words, Rows, Bank]] = OrderedDict()  # by the hash of the words
        self._hashes: dict[int, tuple[tuple[ClassEntry, ...], int]] = {}  # by the lists themselves, as they are held
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the banks, and of the rows that they were made of."""
        with self._guard:
            kept = tuple(self._kept.values())
        return sum(bank.nbytes + sum(part.nbytes for part in rows if part is not None) for _, rows, bank in kept)

    def once(self, words: Words, rows: Rows, make: Callable[[], Bank]) -> Bank:
        """What `make` gives, or gave for the same words and equal rows. Two who ask at once may both make it."""
        if sum(part.nbytes for part in rows if part is not None) > LARGEST:
            return make()
        place = hash((*map(self._hash, words),))
        with self._guard:
            kept = self._kept.get(place)
            if kept is not None:
                self._kept.move_to_end(place)
        if kept is not None and kept[0] == words and all(map(_equal, kept[1], rows)):
            if all(one is other for one, other in zip(kept[1], rows, strict=True)):
                return kept[2]
            bank = kept[2]  # with these rows, for who brings the same again need not have them compared
        else:
            bank = make()
        with self._guard:
            self._kept[place] = words, rows, bank
            self._kept.move_to_end(place)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return bank

    def _hash(self, entries: tuple[ClassEntry, ...]) -> int:
        """Each class is asked for its own, which takes long: of lists that come again it is known."""
        known = self._hashes.get(id(entries))
        if known is None or known[0] is not entries:
            known = entries, hash(entries)
            self._hashes = {**dict(list(self._hashes.items())[1 - 2 * MOST :]), id(entries): known}
        return known[1]


def _equal(one: NDArray[np.floating] | None, other: NDArray[np.floating] | None) -> bool:
    if one is other or one is None or other is None:
        return one is other
    # Their bytes: numpy compares halves one by one, which takes longer than the rest of a lookup.
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
