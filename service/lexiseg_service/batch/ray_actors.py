"""Chunks of a bulk job on a Ray cluster.

Ray Data keeps a pool of actors, assigns chunks and replaces actors that die. Only chunk numbers and reports pass
through Ray; actors read pictures from the store and write rows to it. The chunk of a dead actor goes to another one.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from lexiseg_model.errors import OptionError
from lexiseg_service.batch.chunks import BulkJob, ChunkWorker, Report

MAX_BLOCKS = 10_000  # blocks of the list of chunks; Ray's driver tracks each
CHUNKS_AHEAD = 2  # chunks assigned to an actor: one in work, one queued
CONNECT_SECONDS = 5.0  # to a head node's port; Ray itself tries for two minutes
RAY_LOG = re.compile(r"\.(?:cc|h):\d+: (.+)$", re.MULTILINE)  # a line of Ray's core: its place in the source, the text


class Cluster(NamedTuple):
    """Ray cluster of a job, and resources of each actor."""

    address: str | None  # Ray's: HOST:PORT of a head node, `auto` for this machine's; None: one for this job
    actors: tuple[int, int]  # at least, at most
    cpus: float
    gpus: float


def connect(cluster: Cluster) -> None:
    """Join or start the cluster. Raises OptionError: Ray is not installed, or there is no cluster at the address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no statistics of use
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors are raised as exceptions anyway
    try:
        import ray
    except ImportError:
        raise OptionError('Ray is not installed: pip install "lexiseg[bulk]", or give --local') from None
    if ray.is_initialized():
        return
    address = cluster.address or "local"
    with TemporaryFile() as log:
        try:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if host and port.isdigit():
                socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
            with _stderr_to(log):  # Ray's core writes the reason of a refusal only there
                ray.init(address=address, include_dashboard=None, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            log.seek(0)
            reasons = [str(error), *RAY_LOG.findall(log.read().decode(errors="replace"))[-1:]]
            raise OptionError(f"no Ray cluster at {address}: {'; '.join(reasons)}") from None
    import ray.data  # sets up its logs when it is imported

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@contextmanager
def _stderr_to(file: IO[bytes]) -> Iterator[None]:
    terminal = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def segment_on(cluster: Cluster, job: BulkJob, chunks: Sequence[int]) -> Iterator[Report]:
    """Segment the chunks on Ray; yields a report as each chunk ends, in any order."""
    connect(cluster)
    import ray.data

    listed = ray.data.from_items(
        [{"chunk": chunk} for chunk in chunks], override_num_blocks=min(len(chunks), MAX_BLOCKS)
    )
    pool = ray.data.ActorPoolStrategy(
        min_size=cluster.actors[0], max_size=cluster.actors[1], max_tasks_in_flight_per_actor=CHUNKS_AHEAD
    )
    reports = listed.map_batches(
        ChunkWorker,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="numpy",
        compute=pool,
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus or None,
    )
    return (Report(**row | {"reasons": list(row["reasons"])}) for row in reports.iter_rows())
