"""What lies in a small cache weighs, found out when somebody asks: to whoever fills it, it makes no difference."""

from __future__ import annotations

import sys
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


def weight(thing: object) -> int:
    """Bytes of texts, numbers, arrays and tensors in memory, alone or in tuples, lists, dicts and plain objects.

    What is there several times counts once. Not looked into is what has `nbytes` of its own.
    """
    seen: set[int] = set()
    waiting, total = [thing], 0
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        own = getattr(part, "nbytes", None)
        total += own if isinstance(own, int) else sys.getsizeof(part)
        if isinstance(own, int):
            continue
        if isinstance(part, tuple | list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(chain(part, part.values()))
        elif hasattr(part, "__dict__"):
            waiting.append(vars(part))
    return total


class Weighed(Generic[T]):
    """Something that is replaced and never changed, and what it weighs."""

    __slots__ = ("_nbytes", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self._nbytes: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of it; who asks first has it weighed."""
        if self._nbytes is None:
            self._nbytes = weight(self.value)
        return self._nbytes
