"""What was made of class lists that were asked about lately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from lexiseg_model.caches.weight import Weighed
from lexiseg_model.types import ClassEntry

T = TypeVar("T")

LONGEST = 2048  # texts of a list: to make something of more takes little beside the rest of such a question
Classes = tuple[ClassEntry, ...]


class _Entry(NamedTuple, Generic[T]):
    """A list, and what was made of it."""

    classes: Weighed[Classes]
    made: Weighed[T]


class ByList(Generic[T]):
    """Class list -> what was made of it. Safe from any thread.

    By the list itself and not by what is in it: all parts of a question hold the same one, and so do the questions of
    whoever asks the same names again. To look at each class would take as long as most of what is made of them.

    Args:
        most: lists, the latest that something was made of; one that is longer than LONGEST is not kept.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._kept: dict[int, _Entry[T]] = {}  # a list that is held has its id to itself

    @property
    def list_bytes(self) -> int:
        """Bytes of the lists that are kept."""
        return sum(kept.classes.nbytes for kept in self._kept.values())

    @property
    def made_bytes(self) -> int:
        """Bytes of what was made of them."""
        return sum(kept.made.nbytes for kept in self._kept.values())

    def once(self, classes: Classes, make: Callable[[], T]) -> T:
        """What `make` gives, or gave for the same list. Two who ask at once may both make it."""
        kept = self._kept.get(id(classes))
        if kept is not None and kept.classes.value is classes:
            return kept.made.value
        made = make()
        if sum(len(entry.texts) for entry in classes) <= LONGEST:
            others = list(self._kept.items())[1 - self._most :]
            self._kept = {**dict(others), id(classes): _Entry(Weighed(classes), Weighed(made))}
        return made
