"""An LRU: entries up to a total weight, the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Thread-safe mapping that evicts the least recently used entry; values are never None.

    An entry that weighs more than `max_weight`, which is of all entries, is not kept. By default each weighs 1.
    """

    def __init__(self, max_weight: int, weigh: Callable[[K, V], int] = lambda key, value: 1) -> None:
        self._max_weight = max_weight
        self._weigh = weigh
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.weight = 0  # of all entries, as weighed when they were put

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, marked as just used; None when it is absent."""
        return self.get_all((key,)).get(key)

    def get_all(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of the keys that are present, which all count as just used."""
        values: dict[K, V] = {}
        with self._lock:
            for key in keys:
                if (entry := self._entries.get(key)) is not None:
                    self._entries.move_to_end(key)
                    values[key] = entry[0]
        return values

    def put(self, key: K, value: V) -> V | None:
        """Store a value, which counts as just used; return the one that was evicted last, if any."""
        weight, evicted = self._weigh(key, value), None
        with self._lock:
            self._drop(key)
            if weight > self._max_weight:
                return None
            self._entries[key] = value, weight
            self.weight += weight
            while self.weight > self._max_weight:
                evicted = self._drop(next(iter(self._entries)))
        return evicted

    def drop(self, key: K) -> None:
        with self._lock:
            self._drop(key)

    def items(self) -> tuple[tuple[K, V], ...]:
        """All keys and values, the most recently used last."""
        with self._lock:
            return tuple((key, value) for key, (value, _) in self._entries.items())

    def values(self) -> tuple[V, ...]:
        return tuple(value for _, value in self.items())

    def _drop(self, key: K) -> V | None:
        value, weight = self._entries.pop(key, (None, 0))
        self.weight -= weight
        return value
