"""Work that waits for threads, and whose comes next: who has had the least of their time.

Every source has a clock of its own, which runs while its work does; the source whose clock is behind comes next, and
within it the size (small or large) whose clock is behind. So each source gets the same share of the threads however
much it asks for, and small work of a source the same as its large. A source that comes anew starts at the clock of
who is being served: a pause earns no credit, and leaving and coming back pays no debt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W")
SIZES = (False, True)  # small, large


class Turn(NamedTuple, Generic[W]):
    """One piece of work that has been taken. `since`: when it was put."""

    source: str
    large: bool
    work: W
    since: float
    guess: float  # seconds that its source was charged beforehand


@dataclass
class _Queue(Generic[W]):
    """Work of one source and one size."""

    waiting: deque[tuple[W, float]] = field(default_factory=deque)
    clock: float = 0.0
    last: float = 0.0  # seconds that its last piece took


@dataclass
class _Source(Generic[W]):
    clock: float
    queues: tuple[_Queue[W], _Queue[W]] = field(default_factory=lambda: (_Queue(), _Queue()))
    running: int = 0

    @property
    def idle(self) -> bool:
        return not self.running and not any(queue.waiting for queue in self.queues)


class Shares(Generic[W]):
    """Waiting work by source and size. Not for several threads at once."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source[W]] = {}
        self._now = 0.0  # the clock of whoever was served last

    def __len__(self) -> int:
        """Pieces that wait."""
        return sum(len(queue.waiting) for source in self._sources.values() for queue in source.queues)

    def oldest(self) -> float | None:
        """When what has waited longest was put; None when nothing waits."""
        heads = [queue.waiting[0][1] for source in self._sources.values() for queue in source.queues if queue.waiting]
        return min(heads, default=None)

    def put(self, source: str, work: W, now: float, *, large: bool = False) -> None:
        """The last of its source and size. `now` is any clock's time."""
        place = self._sources.setdefault(source, _Source(self._now))
        if place.idle:
            place.clock = max(place.clock, self._now)
        queue, other = place.queues[large], place.queues[not large]
        if not queue.waiting and other.waiting:
            queue.clock = max(queue.clock, other.clock)
        queue.waiting.append((work, now))

    def take(self, may: Callable[[bool], bool] = lambda large: True) -> Turn[W] | None:
        """The next piece of a size that may be taken; None when there is none. Its end is to be told with `done`."""
        able = [
            (place.clock, queue.clock, name, large)
            for name, place in self._sources.items()
            for large, queue in zip(SIZES, place.queues, strict=True)
            if queue.waiting and may(large)
        ]
        if not able:
            return None
        *_, name, large = min(able, key=lambda choice: choice[:2])  # the first of equals: who came first
        place = self._sources[name]
        queue = place.queues[large]
        self._now = max(self._now, place.clock)
        work, since = queue.waiting.popleft()
        turn = Turn(name, large, work, since, queue.last)
        self._charge(place, queue, turn.guess)
        place.running += 1
        return turn

    def done(self, turn: Turn[W], seconds: float) -> None:
        """A piece that was taken is over, after so many seconds on its thread."""
        place = self._sources[turn.source]
        queue = place.queues[turn.large]
        self._charge(place, queue, seconds - turn.guess)
        queue.last = seconds
        place.running -= 1
        idle = [name for name, other in self._sources.items() if other.idle]
        nobody = len(idle) == len(self._sources)  # is left for whom a debt would matter
        for name in idle:
            # Who has had less than those being served would begin at their clock anyway.
            if nobody or self._sources[name].clock <= self._now:
                del self._sources[name]

    @staticmethod
    def _charge(place: _Source[W], queue: _Queue[W], seconds: float) -> None:
        place.clock += seconds
        queue.clock += seconds
