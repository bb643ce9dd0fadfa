"""When a worker was heard: one that says nothing for several of its words stood still, be it stopped or overwhelmed."""

from __future__ import annotations

import time
from collections.abc import Callable

LONG = 2.0  # seconds; a worker speaks twice in one


class Voice:
    """Of one worker. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._silent_until: float | None = None

    def heard(self) -> None:
        """It has spoken."""
        now = self._clock()
        if self._last is not None and now - self._last >= LONG:
            self._silent_until = now
        self._last = now

    def failed_since(self, moment: float) -> bool:
        """Whether it was silent for long at some time since a moment, or is now; False of one that never spoke."""
        if self._last is None:
            return False
        ended = self._silent_until is not None and self._silent_until > moment
        return ended or self._clock() - self._last >= LONG
