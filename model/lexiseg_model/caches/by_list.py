"""What was made of class lists that were asked about lately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from lexiseg_model.types import ClassEntry

T = TypeVar("T")

Classes = tuple[ClassEntry, ...]


class ByList(Generic[T]):
    """Class list -> what was made of it. Safe from any thread.

    By the list itself and not by what is in it: all parts of a question hold the same one, and so do the questions of
    whoever asks the same names again. To look at each class would take as long as most of what is made of them.

    Args:
        most: lists, the latest that something was made of.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._kept: dict[int, tuple[Classes, T]] = {}  # a list that is held has its id to itself

    def once(self, classes: Classes, make: Callable[[], T]) -> T:
        """What `make` gives, or gave for the same list. Two who ask at once may both make it."""
        kept = self._kept.get(id(classes))
        if kept is not None and kept[0] is classes:
            return kept[1]
        made = make()
        others = list(self._kept.items())[1 - self._most :]
        self._kept = {**dict(others), id(classes): (classes, made)}
        return made
