"""Closer looks at parts of one image that were taken last: they stay with its features, and weigh as these do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator

from lexiseg_model.features import Features
from lexiseg_model.lru import Lru

KEPT = 4  # a megabyte and a half each, with what prompts about it share


class KeptLooks:
    """Features of parts by where they lie. Safe from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: Lru[Hashable, Features] = Lru(KEPT)

    def __iter__(self) -> Iterator[Features]:
        with self._guard:
            return iter(self._kept.values())

    def once(self, place: Hashable, look: Callable[[], Features]) -> Features:
        """The features of a part, by `look` unless it is among the last KEPT that were asked for."""
        with self._guard:
            kept = self._kept.get(place)
        if kept is not None:
            return kept
        seen = look()
        with self._guard:
            kept = self._kept.get(place)  # another thread may have looked meanwhile
            if kept is None:
                self._kept.put(place, seen)
        return seen if kept is None else kept
