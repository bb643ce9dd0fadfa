"""When a request would be answered, were it accepted now: what decides who is told to come again instead.

Sources share the worker. Until a source's own work is done, every other gets at most as much done as it: so a source
with work `a` waits for the sum over all sources of min(a, theirs), at the pace of the worker. Within a source the same
holds of small and large work. What comes later shares, too: while a request waits, others are expected to bring as much
as they have brought lately. The pace is learned while there is work: expected seconds of work done in a second.

The text tower is a second worker of the same kind, at a pace of one.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from lexiseg_service.worker.costs.costs import Costs
from lexiseg_service.worker.costs.size import Size

MEMORY = 15.0  # seconds of work after which what was learned of the pace weighs a third
LEAST_PACE = 0.05
ROUNDS = 12  # in which what comes during a wait, and so lengthens it, is added up
LITTLE = 1e-3  # seconds of work that need not be remembered
LATEST = 30.0  # seconds after which somebody who was refused may always come again
HEADROOM = 0.5  # of what is left until the deadline: those who come later take the rest
FIRST_HEADROOM = 0.9  # likewise, for a source that has nothing else here: it waits for its own size of others at most
IN_ITS_WAY = 1.1  # times what it takes alone, from which others hold a request up


@dataclass(eq=False)
class Expected:
    """One accepted request; what its size costs is judged anew whenever it matters, by what is known then."""

    source: str
    size: Size
    in_tower: bool = False  # and waits for nothing else
    has_read: bool = False


class Forecast:
    """What is accepted and not yet answered, by source; safe to use from any thread."""

    def __init__(self, costs: Costs, clock: Callable[[], float] = time.monotonic) -> None:
        self._costs = costs
        self._clock = clock
        self._expected: set[Expected] = set()
        self._guard = threading.Lock()
        self._since = 0.0  # until when time is counted
        self._seconds = 1.0  # in which there was work, weighed
        self._done = 1.0  # expected seconds of work that were done meanwhile, weighed
        self._appointments: dict[str, float] = {}  # by source: until when those who were refused are to come
        self._lately: dict[tuple[str, bool], tuple[float, float]] = {}  # by source and size: work, weighed, and when

    def seconds(self, request: Expected) -> float:
        """Until the request would be answered."""
        with self._guard:
            return self._until_answered(request)

    def wait(self, request: Expected, left: float) -> int | None:
        """None if a request would be answered in time; else the seconds after which it should come again.

        One whose source has nothing else here takes no other's share, so it is refused only where others make it too
        late. What a request costs alone no waiting makes less: that is always worth the trial.

        Args:
            request: not accepted yet.
            left: seconds until its deadline.
        """
        # Nobody waits, or nobody waits any more, or there is nobody to wait for.
        if math.isinf(left) or left <= 0 or not self._expected:
            return None
        with self._guard:
            if any(other.source == request.source for other in self._expected):
                late = self._until_answered(request) - HEADROOM * left
            elif (seconds := self._until_answered(request, rounds=0)) > IN_ITS_WAY * (alone := self._alone(request)):
                late = min(seconds - FIRST_HEADROOM * left, seconds - alone)
            else:
                return None
            return None if late <= 0 else self._appointment(request, late)

    def again(self, request: Expected) -> int:
        """Seconds after which a request for which there is no place should come again."""
        with self._guard:
            return self._appointment(request, request.size.seconds / self._pace)

    def enter(self, request: Expected) -> None:
        """It is accepted."""
        with self._guard:
            self._count()
            self._expected.add(request)
            now, kind = self._clock(), (request.source, request.size.large)
            self._lately = {each: brought for each in self._lately if (brought := self._brought(each, now))[0] > LITTLE}
            work = self._lately.get(kind, (0.0, now))[0] + request.size.seconds
            self._lately[kind] = work, now

    def shrinks(self, request: Expected, size: Size) -> None:
        """An accepted request is smaller than was thought: its image is known.

        Counted as done, what nobody did would be taken for the pace of the worker, which then accepts too much.
        """
        with self._guard:
            self._count()
            if request in self._expected:
                now, kind = self._clock(), (request.source, request.size.large)
                less = request.size.seconds - size.seconds
                if kind in self._lately:
                    self._lately[kind] = max(0.0, self._brought(kind, now)[0] - less), now
            request.size = size

    def reads(self, request: Expected) -> None:
        """It waits for the text tower."""
        with self._guard:
            self._count()
            request.in_tower = True

    def has_read(self, request: Expected) -> None:
        """It has its texts."""
        with self._guard:
            self._count()
            request.in_tower, request.has_read = False, True

    def after_reading(self, request: Expected) -> float:
        """Seconds that an accepted request takes once its texts are there: those of its finish, at today's pace."""
        with self._guard:
            return request.size.of_known_image().seconds / self._pace

    def leave(self, request: Expected, *, held: float) -> None:
        """It is answered, or given up.

        What was expected of it and not done is no pace of the worker. Where much is asked again that is remembered, it
        would be taken for one, and too much accepted of what is not.

        Args:
            request: accepted.
            held: seconds that its stages took; 0 where nothing came of them.
        """
        with self._guard:
            self._count()
            if request in self._expected:
                self._expected.remove(request)
                self._done += min(request.size.seconds, held)

    def _appointment(self, request: Expected, seconds: float) -> int:
        """Seconds, at least those, so that requests of a source that are refused come one after the other.

        All at once they would be refused again, but for the first.
        """
        now = self._clock()
        self._appointments = {source: due for source, due in self._appointments.items() if due > now}
        due = max(now + seconds, self._appointments.get(request.source, now) + request.size.seconds / self._pace)
        self._appointments[request.source] = due = min(due, now + LATEST)
        return max(1, math.ceil(due - now))

    @property
    def _pace(self) -> float:
        return max(self._done / self._seconds, LEAST_PACE)

    def _alone(self, request: Expected) -> float:
        return request.size.seconds / self._pace + self._costs.reading(request.size)

    def _brought(self, kind: tuple[str, bool], now: float) -> tuple[float, float]:
        """Seconds of work of a source and size that were accepted lately, weighed by now."""
        work, then = self._lately[kind]
        return work * math.exp((then - now) / MEMORY), now

    def _until_answered(self, request: Expected, rounds: int = ROUNDS) -> float:
        waiting: defaultdict[tuple[str, bool], float] = defaultdict(float)
        reading: defaultdict[str, float] = defaultdict(float)
        for other in self._expected:
            waiting[other.source, other.size.large] += other.size.seconds
            reading[other.source] += 0.0 if other.has_read else self._costs.reading(other.size)
        now, pace = self._clock(), self._pace
        comes = {kind: self._brought(kind, now)[0] / MEMORY for kind in self._lately}  # in a second
        kind, beside = (request.source, request.size.large), (request.source, not request.size.large)
        first = waiting[kind] + request.size.seconds

        def shared(seconds: float) -> float:
            """Of work that is done before the request is answered, if it waits for so long."""
            own = first + min(waiting[beside] + comes.get(beside, 0.0) * seconds, first)
            others: defaultdict[str, float] = defaultdict(float)
            for each in waiting.keys() | comes.keys():
                if each[0] != request.source:
                    others[each[0]] += waiting.get(each, 0.0) + comes.get(each, 0.0) * seconds
            return own + sum(min(theirs, own) for theirs in others.values())

        seconds = shared(0.0) / pace
        for _ in range(rounds):
            before, seconds = seconds, shared(seconds) / pace
            if seconds < 1.01 * before:
                break
        if request.size.texts:
            wanted = reading[request.source] = reading[request.source] + self._costs.reading(request.size)
            seconds += sum(min(theirs, wanted) for theirs in reading.values())
        return seconds

    def _count(self) -> None:
        """The time since the last event, if there was work."""
        now = self._clock()
        if any(not request.in_tower for request in self._expected):
            elapsed = now - self._since
            kept = math.exp(-elapsed / MEMORY)
            self._seconds = kept * self._seconds + elapsed
            self._done *= kept
        self._since = now
