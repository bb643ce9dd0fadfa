"""Fair queue in front of the device: batches of one model and one shape, filled from all clients.

The next batch begins with the job of the client (source) that has had the fewest tiles so far; within a client, its
flows (streams and single images) go round robin. The room left in the batch is filled by the same rule with jobs of the
same key (model and bucket). A new client starts at the level of the one served last, so an absence earns no credit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import count
from typing import Generic, NamedTuple, Protocol, TypeVar


class Waiting(Protocol):
    """A job in the queue."""

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
# New clients served while one that waits is passed over: without a limit a crowd of new ones would starve it.
MAX_NEW_PER_TILE = 8


class Portion(NamedTuple, Generic[W]):
    """Some tiles of a job, from `first` to before `last`; a job's portions come in order."""

    job: W
    first: int
    last: int


@dataclass(eq=False)
class _Entry(Generic[W]):
    job: W
    taken: int = 0  # tiles

    @property
    def left(self) -> int:
        return self.job.n_tiles - self.taken


class DeviceQueue(Generic[W]):
    """Jobs that wait for the device. Not thread-safe."""

    def __init__(self) -> None:
        self._entries: list[_Entry[W]] = []  # in the order of arrival
        self._used: dict[str, float] = {}  # tiles by source
        self._served: dict[tuple[str, str], int] = {}  # number of a flow's last portion, or of its arrival
        self._numbers = count()
        self._clock = self._newest = 0.0  # tiles of the source served last, and of the source that came last

    def __len__(self) -> int:
        """Jobs with tiles left."""
        return len(self._entries)

    @property
    def n_sources(self) -> int:
        """Sources with a job in the queue."""
        return len({entry.job.source for entry in self._entries})

    @property
    def next(self) -> W | None:
        """The job that begins the next batch; None when the queue is empty."""
        self._keep(lambda entry: not entry.job.abandoned)
        return self._first(self._entries).job if self._entries else None

    def put(self, job: W) -> None:
        """Add a job."""
        if job.source not in self._used:
            self._newest = min(max(self._clock, self._newest + 1 / MAX_NEW_PER_TILE), self._clock + 1)
            self._used[job.source] = self._newest
        self._served.setdefault((job.source, job.flow), next(self._numbers))
        self._entries.append(_Entry(job))

    def take(self, max_tiles: int) -> list[Portion[W]]:
        """Remove the next batch: 1 to `max_tiles` tiles, all of one key; empty when the queue is.

        A job of more tiles than there is room for gives some and keeps its place.
        """
        first = self.next
        if first is None:
            return []
        self._clock = max(self._clock, self._used[first.source])
        batch: list[Portion[W]] = []
        alike = [entry for entry in self._entries if entry.job.key == first.key]
        while alike and max_tiles:
            entry = self._first(alike)
            job, tiles = entry.job, min(entry.left, max_tiles)
            batch.append(Portion(job, entry.taken, entry.taken + tiles))
            entry.taken += tiles
            max_tiles -= tiles
            self._used[job.source] += tiles
            self._served[job.source, job.flow] = next(self._numbers)
            alike.remove(entry)
        self._keep(lambda entry: entry.left > 0)
        return batch

    def _first(self, entries: list[_Entry[W]]) -> _Entry[W]:
        """The entry that is served first; of equals the one that came first."""
        return min(
            entries, key=lambda each: (self._used[each.job.source], self._served[each.job.source, each.job.flow])
        )

    def _keep(self, stays: Callable[[_Entry[W]], bool]) -> None:
        """Remove the other entries, flows without an entry, and sources that would begin at the clock anyway."""
        self._entries = [entry for entry in self._entries if stays(entry)]
        flows = {(entry.job.source, entry.job.flow) for entry in self._entries}
        self._served = {flow: number for flow, number in self._served.items() if flow in flows}
        waiting = {source for source, _ in flows}
        self._used = {source: used for source, used in self._used.items() if source in waiting or used > self._clock}
