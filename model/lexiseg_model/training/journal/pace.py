"""How fast a run is, and when it will be done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

WINDOW = 100  # steps that the pace is of


class _Mark(NamedTuple):
    at: float
    examples: int
    share: float


class Pace:
    """Of the last steps; known from the first on."""

    def __init__(self, examples: int, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks = deque([_Mark(clock(), examples, share)], WINDOW + 1)

    def step(self, examples: int, share: float) -> None:
        """A step was made: examples seen so far, share of the run that is done."""
        self._marks.append(_Mark(self._clock(), examples, share))

    @property
    def examples_per_second(self) -> float:
        first, last = self._marks[0], self._marks[-1]
        return (last.examples - first.examples) / max(1e-9, last.at - first.at)

    @property
    def seconds_left(self) -> float | None:
        """None before the first step."""
        first, last = self._marks[0], self._marks[-1]
        if last.share <= first.share:
            return None
        return (1 - last.share) * (last.at - first.at) / (last.share - first.share)
