"""Chunks over a Ray cluster: Ray Data keeps a pool of actors, hands out chunks, and replaces what dies.

Only the number of a chunk and a report travel through Ray; pictures and rows go between actors and stores. A chunk of
an actor or machine that died is given to another actor, which finds what was written already.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from lexiseg_model.errors import OptionError
from lexiseg_service.commands.bulk.plan import Job
from lexiseg_service.commands.bulk.segmenting import Report, Segmenting

MAX_BLOCKS = 10_000  # of the list of chunks, which Ray's driver keeps track of
STANDARD_ERROR = 2
RAY_LINE = re.compile(r"^\[[^\]]*\] *\S+\.cc:\d+: *")
TOKEN = "; the cluster's token belongs into RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token"
CHUNKS_AHEAD = 2  # that an actor has: one in work, one to go on with


class Cluster(NamedTuple):
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
        reports = [self._segmenting(int(chunk))._asdict() for chunk in batch["chunk"]]
        return {name: [report[name] for report in reports] for name in Report._fields}


def connect(cluster: Cluster) -> None:
    """Join or start the cluster.

    Raises:
        OptionError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no statistics of use
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors come as exceptions
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
    """Segment the chunks; reports come in the order in which they end."""
    import ray.data

    listed = ray.data.from_items(
        [{"chunk": chunk} for chunk in chunks], override_num_blocks=min(len(chunks), MAX_BLOCKS)
    )
    pool = ray.data.ActorPoolStrategy(
        min_size=cluster.actors[0], max_size=cluster.actors[1], max_tasks_in_flight_per_actor=CHUNKS_AHEAD
    )
    reports = listed.map_batches(
        Actor,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="numpy",
        compute=pool,
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus or None,
    )
    for row in reports.iter_rows():
        yield Report(**row | {"reasons": list(row["reasons"])})
