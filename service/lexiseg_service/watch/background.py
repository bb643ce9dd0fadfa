"""What outlives a request, as a gateway sees it: jobs and trainings. Read at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Disk(NamedTuple):
    """The disk of a folder, in bytes."""

    free: int
    size: int


class TrainingsSnapshot(NamedTuple):
    """What a gateway sees of the folder of trainings, which all gateways share."""

    states: Mapping[str, int]  # how many are kept; every state
    oldest_waiting: float  # seconds since it was created; 0 if none waits
    trainer_alive: bool
    disk: Disk


class JobsSnapshot(NamedTuple):
    """What a gateway sees of the jobs, which all gateways share."""

    states: Mapping[str, int]  # how many have pictures without an answer; every state
    oldest_waiting: float  # seconds since it was created; 0 if none waits
    held_up: int  # jobs with answers that this gateway cannot write, or that it cannot begin
    erasures_failing: int  # erased jobs with files that this gateway cannot remove
    disk: Disk | None  # of archives and results; None: an object store


class Jobs(Collector):
    """The jobs, where they are switched on."""

    def __init__(self, snapshot: Callable[[], JobsSnapshot | None]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """As `Collector.collect`."""
        snapshot = self._snapshot()
        number = GaugeMetricFamily("lexiseg_jobs_open", "Jobs with pictures that have no answer", labels=["state"])
        oldest = GaugeMetricFamily("lexiseg_jobs_oldest_waiting_seconds", "Age of the job that waits longest")
        held_up = GaugeMetricFamily("lexiseg_jobs_held_up", "Jobs that the gateway cannot go on with now")
        failing = GaugeMetricFamily("lexiseg_jobs_erasures_failing", "Erased jobs whose files cannot be removed now")
        if snapshot is not None:
            for state, count in snapshot.states.items():
                number.add_metric([state], count)
            oldest.add_metric([], snapshot.oldest_waiting)
            held_up.add_metric([], snapshot.held_up)
            failing.add_metric([], snapshot.erasures_failing)
        return number, oldest, held_up, failing, *_disk("jobs", None if snapshot is None else snapshot.disk)


class Trainings(Collector):
    """The folder of trainings, where there is one."""

    def __init__(self, snapshot: Callable[[], TrainingsSnapshot | None]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """As `Collector.collect`."""
        snapshot = self._snapshot()
        number = GaugeMetricFamily("lexiseg_trainings", "Trainings that are kept, by their state", labels=["state"])
        oldest = GaugeMetricFamily("lexiseg_trainings_oldest_waiting_seconds", "Age of the training that waits longest")
        alive = GaugeMetricFamily("lexiseg_trainer_alive", "1 while a trainer is at work")
        if snapshot is not None:
            for state, count in snapshot.states.items():
                number.add_metric([state], count)
            oldest.add_metric([], snapshot.oldest_waiting)
            alive.add_metric([], snapshot.trainer_alive)
        return number, oldest, alive, *_disk("trainings", None if snapshot is None else snapshot.disk)


def _disk(kind: str, disk: Disk | None) -> Iterable[Metric]:
    free = GaugeMetricFamily(f"lexiseg_{kind}_disk_free_bytes", f"Bytes left where {kind} are")
    size = GaugeMetricFamily(f"lexiseg_{kind}_disk_bytes", f"Bytes of the disk where {kind} are")
    if disk is not None:
        free.add_metric([], disk.free)
        size.add_metric([], disk.size)
    return free, size
