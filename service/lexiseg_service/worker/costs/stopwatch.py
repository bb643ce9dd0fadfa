"""Seconds that work takes when it is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

LONG = 0.2  # seconds; what takes longer is not tried twice
T = TypeVar("T")


class Stopwatch:
    """By a clock, of which only the differences in seconds matter."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def timed(self, work: Callable[[], T]) -> tuple[float, T]:
        """Seconds, of the better of two times, and what was made the last time."""
        seconds, made = self._once(work)
        if seconds < LONG:
            again, made = self._once(work)
            seconds = min(seconds, again)
        return seconds, made

    def _once(self, work: Callable[[], T]) -> tuple[float, T]:
        began = self._clock()
        made = work()
        return self._clock() - began, made
