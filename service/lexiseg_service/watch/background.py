"""Gauges of what outlives a request, jobs and trainings, as each gateway sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Values = Mapping[str, float | Mapping[str, float]]  # by the name of a gauge; of some by state
JOBS = {
    "lexiseg_jobs_open": "Jobs with pictures that have no answer",
    "lexiseg_jobs_oldest_waiting_seconds": "Age of the job that waits longest",
    "lexiseg_jobs_held_up": "Jobs that the gateway cannot go on with now",
    "lexiseg_jobs_erasures_failing": "Erased jobs whose files cannot be removed now",
    "lexiseg_jobs_disk_free_bytes": "Bytes left where jobs are",
    "lexiseg_jobs_disk_bytes": "Bytes of the disk where jobs are",
}
TRAININGS = {
    "lexiseg_trainings": "Trainings that are kept, by their state",
    "lexiseg_trainings_oldest_waiting_seconds": "Age of the training that waits longest",
    "lexiseg_trainer_alive": "1 while a trainer is at work",
    "lexiseg_trainings_disk_free_bytes": "Bytes left where trainings are",
    "lexiseg_trainings_disk_bytes": "Bytes of the disk where trainings are",
}


class Disk(NamedTuple):
    """The disk of a folder, in bytes."""

    free: int
    size: int


class Gauges(Collector):
    """Gauges that are read at each scrape.

    Args:
        described: their descriptions by name.
        read: their values; None: they cannot be read now.
    """

    def __init__(self, described: Mapping[str, str], read: Callable[[], Values | None]) -> None:
        self._described = described
        self._read = read

    def collect(self) -> Iterable[Metric]:
        values = self._read() or {}
        for name, description in self._described.items():
            value = values.get(name)
            if not isinstance(value, Mapping):
                yield GaugeMetricFamily(name, description, value)
                continue
            gauge = GaugeMetricFamily(name, description, labels=["state"])
            for state, count in value.items():
                gauge.add_metric([state], count)
            yield gauge
