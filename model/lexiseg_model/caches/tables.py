"""What depends on sizes alone, worked out once: bounded in bytes, for the sizes are the client's."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Kept(Protocol):
    """What is kept."""

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        ...


V = TypeVar("V", bound=Kept)


class Tables(Generic[V]):
    """Key -> arrays; the least recently used go first. Safe from any thread.

    A picture may be sixteen pixels high and millions wide: so many entries, each as long as a side, would be gigabytes.

    Args:
        most_bytes: of all arrays that are kept; an entry of more is not.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._guard = threading.Lock()
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are kept."""
        return self._nbytes

    def once(self, key: Hashable, make: Callable[[], V]) -> V:
        """What `make` gives, or gave for the same key. Two who ask at once may both make it."""
        with self._guard:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept[0]
        made = make()
        if (n_bytes := made.nbytes) <= self._most_bytes:
            with self._guard:
                self._nbytes += n_bytes - self._kept.pop(key, (made, 0))[1]
                self._kept[key] = made, n_bytes
                while self._nbytes > self._most_bytes:
                    self._nbytes -= self._kept.popitem(last=False)[1][1]
        return made
