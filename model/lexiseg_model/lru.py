"""An LRU: a bounded number of entries, the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Key -> value, which is never None. Thread-safe.

    Args:
        max_entries: at least one.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, which then counts as just used; None when it is absent."""
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> V | None:
        """Store a value, which counts as just used; return the evicted one, if any."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            return self._entries.popitem(last=False)[1] if len(self._entries) > self._max_entries else None

    def values(self) -> tuple[V, ...]:
        """All values, the most recently used last."""
        with self._lock:
            return tuple(self._entries.values())
