"""What several jobs need is made by the first of them; the others wait for it without a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable

Go = Callable[[], None]


class SingleFlight:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Go]] = {}
        self._guard = threading.Lock()

    def join(self, key: Hashable, go: Go) -> None:
        """Calls `go`: now for the first of a key, else after `leave`."""
        with self._guard:
            if key in self._waiting:
                self._waiting[key].append(go)
                return
            self._waiting[key] = deque()
        go()

    def leave(self, key: Hashable, *, made: bool) -> None:
        """The first of a key has ended: all others go on, or the next one tries if it made nothing."""
        with self._guard:
            waiting = self._waiting[key]
            going = [waiting.popleft()] if waiting and not made else [*waiting]
            if made or not going:
                del self._waiting[key]
        for go in going:
            go()
