"""What is known of a store that may take no writes: a full disk, a full Redis, a replica."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIAL_SECONDS = 15.0  # between two writes that are tried while it takes none


class RefusedWrites:
    """Whether the latest was, and when the next is tried. `clock`: seconds; only its differences matter."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_trial: float | None = None  # None: writes are taken, as far as is known

    def __bool__(self) -> bool:
        return self._next_trial is not None

    def refused(self) -> None:
        """A write was."""
        self._next_trial = self._clock() + TRIAL_SECONDS

    def taken(self) -> None:
        """A write was."""
        self._next_trial = None

    def trial_is_due(self) -> bool:
        """Whether one is to be tried now; then the next is due `TRIAL_SECONDS` later."""
        if self._next_trial is None or self._clock() < self._next_trial:
            return False
        self._next_trial = self._clock() + TRIAL_SECONDS
        return True
