"""Chunks over a Ray cluster: Ray Data keeps a pool of actors, gives them chunks, and replaces what dies.

What travels is a chunk's number there and a report back; pictures and rows go between actors and stores. A chunk whose
actor or machine died is given to another actor, and finds on the way what was written already.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lexiseg_model.errors import OptionError
from lexiseg_service.commands.bulk.counting import Counted, count_chunk
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination
from lexiseg_service.commands.bulk.segmenting import Report, Segmenting

MOST_BLOCKS = 10_000  # of the list of chunks: what Ray's driver keeps track of
STANDARD_ERROR = 2
RAY_LINE = re.compile(r"^\[[^\]]*\] *\S+\.cc:\d+: *")
TOKEN = "; the cluster's token belongs into RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token"
WAITING = 2  # chunks that an actor has: one in work, one to go on with


@dataclass(frozen=True)
class Cluster:
    """Where to run, and what each actor takes of it.

    `address` is Ray's: HOST:PORT of a head node, `auto` for the one of this machine, None starts one for this job.
    """

    address: str | None
    actors: tuple[int, int]  # at least, at most
    cpus: float
    gpus: float


class Actor:
    """`Segmenting` as Ray Data calls it: rows of chunk numbers in, reports out."""

    def __init__(self, job: Job) -> None:
        self._segmenting = Segmenting(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return as_columns([self._segmenting(int(chunk)) for chunk in batch["chunk"]])


class Counter:
    """`count_chunk` as Ray Data calls it."""

    def __init__(self, url: str) -> None:
        self._destination = Destination(url)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return as_columns([count_chunk(self._destination, int(chunk)) for chunk in batch["chunk"]])


def as_columns(records: Sequence[Report | Counted]) -> dict[str, Any]:
    """Records by column; those of several values as lists."""
    names = records[0]._fields
    values = {name: [getattr(each, name) for each in records] for name in names}
    return {name: [list(v) if isinstance(v, tuple) else v for v in column] for name, column in values.items()}


def connect(cluster: Cluster) -> None:
    """Joins or starts the cluster.

    Raises:
        OptionError: Ray is not installed, or there is no cluster at the address.
    """
    # Nobody is told of the use of this program.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what Ray says to itself; its errors come as exceptions
    try:
        import ray
    except ImportError:
        raise OptionError("Ray is not installed: pip install 'ray[data]', or give --local") from None
    if ray.is_initialized():
        return
    address = cluster.address or "local"
    with tempfile.TemporaryFile() as lines:
        try:
            with _standard_error_in(lines.fileno()):
                ray.init(address=address, include_dashboard=None, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            lines.seek(0)
            raise OptionError(f"no Ray cluster at {address}: {error}{reason_in(lines.read())}") from None
    import ray.data  # sets up its logs when it is imported

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@contextmanager
def _standard_error_in(file: int) -> Iterator[None]:
    """Send standard error to a file: Ray's C++ part writes there why it cannot join, its exception does not say it."""
    sys.stderr.flush()
    terminal = os.dup(STANDARD_ERROR)
    os.dup2(file, STANDARD_ERROR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, STANDARD_ERROR)
        os.close(terminal)


def reason_in(lines: bytes) -> str:
    """The last line that Ray wrote, without its time and process; the same one comes with each of its tries."""
    written = lines.decode("utf-8", "replace").strip().splitlines()
    if not written:
        return ""
    reason = f" ({RAY_LINE.sub('', written[-1])})"
    return reason + TOKEN if "AuthToken" in reason else reason


def segment_on(cluster: Cluster, job: Job, chunks: Sequence[int]) -> Iterator[Report]:
    """The chunks, in the order in which they end."""
    import ray.data

    dataset = _listed(chunks).map_batches(
        Actor,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            min_size=cluster.actors[0], max_size=cluster.actors[1], max_tasks_in_flight_per_actor=WAITING
        ),
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus or None,
    )
    for row in dataset.iter_rows():
        yield Report(**row | {"reasons": tuple(row["reasons"])})


def count_on(destination: Destination, chunks: Sequence[int]) -> Iterator[Counted]:
    """Every chunk, by the whole cluster."""
    dataset = _listed(chunks).map_batches(
        Counter(destination.url).__call__, batch_size=16, batch_format="numpy", num_cpus=1
    )
    for row in dataset.iter_rows():
        lists = {name: tuple(row[name]) for name in ("lost", "twice", "digests")}
        yield Counted(**row | lists)


def _listed(chunks: Sequence[int]) -> Any:
    import ray.data

    return ray.data.from_items(
        [{"chunk": chunk} for chunk in chunks], override_num_blocks=min(len(chunks), MOST_BLOCKS)
    )
