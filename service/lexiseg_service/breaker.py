"""A circuit breaker: a service that fails several times in a row is left alone for a while, then tried once.

closed --N failures in a row--> open --cool-down--> half-open --success--> closed
                                  ^---------------------'--failure--> open
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import IntEnum

FAILURES = 3
COOL_DOWN_SECONDS = 5.0


class State(IntEnum):
    """As the gauge shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Told what happened, it says whether to call; thread-safe."""

    def __init__(
        self,
        failures: int = FAILURES,
        cool_down: float = COOL_DOWN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._cool_down = cool_down
        self._clock = clock
        self._failures = 0
        self._next_trial = 0.0
        self._guard = threading.Lock()
        self.state = State.CLOSED

    @property
    def trial_is_due(self) -> bool:
        """Not closed, and the next call may go through."""
        return self.state is not State.CLOSED and self._clock() >= self._next_trial

    def allow(self) -> bool:
        """May a call go through? While not closed, one may after each cool-down."""
        with self._guard:
            if self.state is State.CLOSED:
                return True
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + self._cool_down
            self.state = State.HALF_OPEN
            return True

    def success(self) -> None:
        """A call went well. One that began before the breaker opened does not close it."""
        with self._guard:
            if self.state is not State.OPEN:
                self._failures = 0
                self.state = State.CLOSED

    def failure(self) -> None:
        """A call failed."""
        with self._guard:
            self._failures += 1
            if self.state is State.HALF_OPEN or (self.state is State.CLOSED and self._failures >= self._limit):
                self._next_trial = self._clock() + self._cool_down
                self.state = State.OPEN
