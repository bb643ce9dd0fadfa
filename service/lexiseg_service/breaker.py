"""A circuit breaker: who fails often enough is left alone for a while, then tried once.

    closed --N failures in a row--> open --cool-down--> half-open --success--> closed
                                      ^---------------------'--failure--> open

Pure: it calls nothing, it is told what happened; the clock is handed in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import IntEnum


class State(IntEnum):
    """As the gauge shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Safe to use from any thread. `changed` hears each new state, under the lock: it must not come back here."""

    def __init__(
        self,
        failures: int,
        cool_down: float,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[State], None] = lambda state: None,
    ) -> None:
        self._limit = failures
        self._cool_down = cool_down
        self._clock = clock
        self._changed = changed
        self._state = State.CLOSED
        self._failures = 0
        self._next_probe = 0.0
        self._guard = threading.Lock()

    @property
    def state(self) -> State:
        return self._state

    @property
    def probe_is_due(self) -> bool:
        """Not closed, and the next call may go through to find out."""
        with self._guard:
            return self._state is not State.CLOSED and self._clock() >= self._next_probe

    def allow(self) -> bool:
        """May a call go through? After the cool-down one may, and one more each cool-down until one is heard of."""
        with self._guard:
            if self._state is State.CLOSED:
                return True
            if self._clock() < self._next_probe:
                return False
            self._next_probe = self._clock() + self._cool_down
            self._become(State.HALF_OPEN)
            return True

    def success(self) -> None:
        """A call went well. One that began before the breaker opened does not close it."""
        with self._guard:
            if self._state is not State.OPEN:
                self._failures = 0
                self._become(State.CLOSED)

    def failure(self) -> None:
        """A call failed."""
        with self._guard:
            self._failures += 1
            if self._state is State.HALF_OPEN or (self._state is State.CLOSED and self._failures >= self._limit):
                self._next_probe = self._clock() + self._cool_down
                self._become(State.OPEN)

    def _become(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self._changed(state)
