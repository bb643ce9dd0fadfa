"""Collectors: gauges that are read at each scrape, and the metrics of workers on the same machine.

A gateway and these workers show one exposition, in which equal series are added.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import httpx
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

SECONDS = 2.0  # for a worker's answer; without one it is left out
# Of these the largest value is shown.
LARGEST = frozenset({"lexiseg_redis_breaker_state", "lexiseg_stage_longest_wait_seconds", "process_start_time_seconds"})
Values = Mapping[str, float | Mapping[str, float]]  # by the name of a gauge; of some by label
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


class Gauges(Collector):
    """Gauges by name, with their descriptions; `read` gives their values, None: they cannot be read now."""

    def __init__(self, described: Mapping[str, str], read: Callable[[], Values | None], label: str = "state") -> None:
        self._described = described
        self._read = read
        self._label = label

    def collect(self) -> Iterable[Metric]:
        values = self._read() or {}
        for name, description in self._described.items():
            value = values.get(name)
            if not isinstance(value, Mapping):
                yield GaugeMetricFamily(name, description, value)
                continue
            gauge = GaugeMetricFamily(name, description, labels=[self._label])
            for label, number in value.items():
                gauge.add_metric([label], number)
            yield gauge


class Gathered(Collector):
    """Collector of known metric families, as the encoders of prometheus_client take it."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def metrics_socket(worker: Path) -> Path:
    """The socket of the metrics of a worker that listens on a Unix socket."""
    return worker.with_suffix(".http")


async def gather(gateway: Iterable[Metric], workers: Sequence[Path]) -> Gathered:
    """The metric families of a gateway and of workers, given by their sockets; equal series are combined."""
    texts = await asyncio.gather(*map(_ask, workers))
    families = {family.name: family for family in gateway}
    for text in texts:
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            mine = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            _add(mine, family)
    return Gathered(families.values())


async def _ask(worker: Path) -> str:
    # Without TLS: reading the certificates of authorities holds the event loop for 20 ms.
    transport = httpx.AsyncHTTPTransport(verify=False, uds=str(metrics_socket(worker)))
    try:
        async with httpx.AsyncClient(transport=transport, timeout=SECONDS) as client:
            answer = await client.get("http://worker/metrics", headers={"Accept": "application/openmetrics-text"})
            return answer.raise_for_status().text
    except httpx.HTTPError:
        return "# EOF\n"


def _add(mine: Metric, other: Metric) -> None:
    """Add the samples of a family to another's: sums, or the largest value (`LARGEST`, `_info`)."""
    at = {_series(sample): place for place, sample in enumerate(mine.samples)}
    combine = max if mine.name in LARGEST or mine.name.endswith("_info") else operator.add
    for sample in other.samples:
        place = at.get(_series(sample))
        if place is None:
            mine.samples.append(sample)
        elif not sample.name.endswith("_created"):
            own = mine.samples[place]
            mine.samples[place] = own._replace(value=combine(own.value, sample.value))


def _series(sample: Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    return sample.name, frozenset(sample.labels.items())
