"""The waiting line before the device: sources take turns, a batch is of one model and one shape.

A source is a client, by its key or its address; its video streams and its single images are its flows. The source whose
turn it is gives the oldest job of the flow whose turn it is, which decides the batch's key (model and bucket); the room
that is left goes round the sources, and within each round its flows, for jobs of the same key. The next turn is the
next source's, however many jobs the first has. So a job waits for at most as many batches as there are sources, for
each batch that its own source needs before it: no source starves another, and no key starves another.

Who comes anew goes before those who have had their turn in this round: a client that asks for little waits for the
batch under way, and not for one of each of those who always have more. Of new ones a few do in each round, or those who
never were here before would be all that is ever served.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import chain, count, zip_longest
from typing import Generic, NamedTuple, Protocol, TypeVar


class Waiting(Protocol):
    """What can stand in the line."""

    @property
    def source(self) -> str: ...

    @property
    def flow(self) -> str: ...

    @property
    def key(self) -> Hashable:
        """Jobs of one key can share a batch."""
        ...

    @property
    def n_tiles(self) -> int: ...

    @property
    def abandoned(self) -> bool: ...


W = TypeVar("W", bound=Waiting)
NEW_IN_A_ROUND = 8  # sources that may go before those who have had their turn


class Portion(NamedTuple, Generic[W]):
    """Some tiles of a job, from `first` to before `last`; a job's portions come in order."""

    job: W
    first: int
    last: int


@dataclass(eq=False)
class _Place(Generic[W]):
    job: W
    taken: int = 0  # of its tiles

    @property
    def left(self) -> int:
        return self.job.n_tiles - self.taken


class Line(Generic[W]):
    """Jobs that wait for the device. Not for several threads at once."""

    def __init__(self) -> None:
        self._sources: dict[str, OrderedDict[str, deque[_Place[W]]]] = {}  # of each its flows, whose turn it is first
        self._turns: dict[str, tuple[float, int]] = {}  # the round of a source's next turn, and when that was settled
        self._settled = count()
        self._round = self._newest = 0.0  # that is under way, and of whoever came anew last

    def __len__(self) -> int:
        """Jobs with tiles left."""
        return sum(len(places) for flows in self._sources.values() for places in flows.values())

    @property
    def n_sources(self) -> int:
        """Sources that wait."""
        return len(self._sources)

    @property
    def next(self) -> W | None:
        """The job that begins the next batch; None when nobody waits."""
        self._keep(lambda place: not place.job.abandoned)
        if not self._sources:
            return None
        flows = self._sources[min(self._sources, key=self._turns.__getitem__)]
        return next(iter(flows.values()))[0].job

    def put(self, job: W) -> None:
        """The last of its flow; a flow that had none takes its first turn after the others of its source."""
        if job.source not in self._sources:
            self._sources[job.source] = OrderedDict()
            if job.source not in self._turns:  # else it has had its turn in this round, and comes back for the next
                self._newest = min(max(self._round, self._newest + 1 / NEW_IN_A_ROUND), self._round + 1)
                self._turns[job.source] = self._newest, next(self._settled)
        self._sources[job.source].setdefault(job.flow, deque()).append(_Place(job))

    def take(self, most: int) -> list[Portion[W]]:
        """The next batch: at least one tile and at most `most`, all of one key; empty when nobody waits.

        A job of more tiles than there is room for gives some and keeps its place.
        """
        first = self.next
        if first is None:
            return []
        source, key = first.source, first.key
        batch: list[Portion[W]] = []
        in_turn = sorted(self._sources, key=self._turns.__getitem__)  # the pick's own source begins
        rounds = deque(_in_turn(self._sources[each], key) for each in in_turn)
        self._round = self._turns[source][0]
        self._turns[source] = self._round + 1, next(self._settled)
        self._sources[source].move_to_end(first.flow)
        while rounds and most:
            places = rounds.popleft()
            place = next(places, None)
            if place is None:
                continue
            rounds.append(places)
            tiles = min(place.left, most)
            batch.append(Portion(place.job, place.taken, place.taken + tiles))
            place.taken += tiles
            most -= tiles
        self._keep(lambda place: place.left > 0)
        return batch

    def _keep(self, stays: Callable[[_Place[W]], bool]) -> None:
        """Sends everybody else away, and flows and sources without a job."""
        for source, flows in tuple(self._sources.items()):
            for flow, places in tuple(flows.items()):
                kept = deque(place for place in places if stays(place))
                if kept:
                    flows[flow] = kept
                else:
                    del flows[flow]
            if not flows:
                del self._sources[source]
        for source in self._turns.keys() - self._sources.keys():
            if self._turns[source][0] <= self._round:  # whoever it is would begin there anyway
                del self._turns[source]


def _in_turn(flows: OrderedDict[str, deque[_Place[W]]], key: Hashable) -> Iterator[_Place[W]]:
    """Places of one key: the first of each flow, the second of each, and so on."""
    of_flows = [[place for place in places if place.job.key == key] for places in flows.values()]
    return chain.from_iterable(filter(None, places) for places in zip_longest(*of_flows))
