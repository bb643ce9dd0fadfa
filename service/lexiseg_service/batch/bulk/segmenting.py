"""Segment chunk after chunk with a model that is loaded once, in this process or on Ray.

pictures of a chunk -> threads: read, submit to the engine, which batches them -> rows -> one file

At most two batches of pictures are in flight, which bounds the memory. On a cluster Ray Data keeps a pool of actors,
assigns chunks and replaces actors that die. Only chunk numbers and reports pass through Ray; actors read pictures from
the store and write rows to it. The chunk of a dead actor goes to another actor, which keeps the rows already written.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import typer

from lexiseg_client.calling.mapping import map_threads
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.errors import ModelError, OptionError
from lexiseg_service.batch.bulk.job import Destination, Job, Size, row_of
from lexiseg_service.batch.rows import FAILED, OK, Row
from lexiseg_service.batch.sources.fetching import Unreadable
from lexiseg_service.batch.sources.tables import Contents, Item, Read
from lexiseg_service.errors import NotReady, ServiceError
from lexiseg_service.in_process import load
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

MAX_REASONS = 3  # failures quoted in the report of a chunk, and at the end
INTERRUPTED_STATUS = 130  # the exit status of a program that Ctrl-C ended
MIN_JUDGED = 100  # pictures, before a rate of failures ends the job
BATCH = 32  # tiles in one image pass by default: what a GPU needs to be busy
MAX_BLOCKS = 10_000  # blocks of the list of chunks; Ray's driver tracks each
CHUNKS_AHEAD = 2  # chunks assigned to an actor: one in work, one queued
CONNECT_SECONDS = 5.0  # to a head node's port; Ray itself tries for two minutes
RAY_LOG = re.compile(r"\.(?:cc|h):\d+: (.+)$", re.MULTILINE)  # a line of Ray's core: its place in the source, the text


class Report(NamedTuple):
    """Numbers of inputs and failures of one chunk, and the first messages of failures."""

    inputs: int
    failures: int
    reasons: list[str]


class Segmenting:
    """Segments chunks with one loaded model. Not thread-safe.

    Raises:
        ModelError: the model cannot be loaded, or existing rows come from another model.
        ServiceError: the model cannot do the task.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._destination = Destination(job.destination)
        self._vocabulary_digest = job.vocabulary_digest
        self._segmenter = load(job.settings, job.question.task)
        if job.model_digest is not None and self._segmenter.digest != job.model_digest:
            raise OptionError(
                f"{job.destination} holds answers of {job.model} with the digest {job.model_digest}; "
                f"the one here has {self._segmenter.digest}"
            )
        from lexiseg_service.worker.engine import Engine  # imports torch, in the process that needs it

        # Not warmed up: a job has no deadline, and many jobs have pictures of one size.
        self._engine = Engine(self._segmenter, job.settings, Metrics())
        self._ahead = 2 * job.settings.max_batch
        self._contents = Contents(job.source, job.settings.limits.max_image_bytes)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Segment chunks as Ray Data's `map_batches` asks: column `chunk` in, columns of `Report` out."""
        reports = [self.segment(int(chunk)) for chunk in batch["chunk"]]
        return dict(zip(Report._fields, map(list, zip(*reports, strict=True)), strict=True))

    def segment(self, chunk: int) -> Report:
        """Segment the inputs of a chunk and write their rows; existing rows are kept.

        Raises:
            OSError: the plan cannot be read, or the rows cannot be written.
        """
        items = self._destination.chunk(chunk)
        before = self._destination.rows(chunk)
        keep = {row["id"]: row for row in before if row["status"] == OK or not self._job.retry_failed}
        to_do = [item for item in items if item.id not in keep]
        answered = map_threads(self._row, zip(to_do, self._contents.of(to_do), strict=True), self._ahead)
        fresh = {row["id"]: row for row in answered}
        rows = [fresh.get(item.id) or keep[item.id] for item in items]
        if to_do or len(before) != len(rows):
            self._destination.write_rows(chunk, rows, self._job.identity | {"model_digest": self._segmenter.digest})
        failures = [row for row in rows if row["status"] == FAILED]
        reasons = [f"{row['id']}: {row['error']}" for row in failures[:MAX_REASONS]]
        return Report(len(rows), len(failures), reasons)

    def close(self) -> None:
        """End the threads."""
        self._contents.close()
        self._engine.close(0)

    def _row(self, item_and_read: tuple[Item, Read]) -> Row:
        """The row of an input; an error becomes the message in its row, so that one picture cannot end the job."""
        item, read = item_and_read
        outcome: WorkerAnswer | str
        try:
            question = self._job.question
            request = WorkerRequest(
                read(),
                self._job.vocabulary,
                self._segmenter.card.name,
                question.task,
                threshold=question.threshold,
                max_side=question.max_side,
                remember=False,
            )
            outcome = self._engine.submit(request).result()
        except NotReady:
            raise
        except (ModelError, Unreadable) as error:
            outcome = str(error)
        except ServiceError as error:
            outcome = f"{error.type}: {error.detail}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        return row_of(item.id, outcome, self._segmenter.digest, self._vocabulary_digest)


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
            _require_listening(address)
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
    """Send what is written to the standard error, by any library, to a file."""
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _require_listening(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT; other addresses are left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def segment_on(cluster: Cluster, job: Job, chunks: Sequence[int]) -> Iterator[Report]:
    """Segment the chunks on Ray; yields a report as each chunk ends, in any order.

    Raises:
        OptionError: the cluster cannot be joined.
    """
    connect(cluster)
    import ray.data

    listed = ray.data.from_items(
        [{"chunk": chunk} for chunk in chunks], override_num_blocks=min(len(chunks), MAX_BLOCKS)
    )
    pool = ray.data.ActorPoolStrategy(
        min_size=cluster.actors[0], max_size=cluster.actors[1], max_tasks_in_flight_per_actor=CHUNKS_AHEAD
    )
    reports = listed.map_batches(
        Segmenting,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="numpy",
        compute=pool,
        num_cpus=cluster.cpus,
        num_gpus=cluster.gpus or None,
    )
    return (Report(**row | {"reasons": list(row["reasons"])}) for row in reports.iter_rows())


def batch_settings(settings: Settings) -> Settings:
    """Settings for many pictures at once: batches of a size for GPUs, a queue that holds two of them, no cache."""
    batch = settings.max_batch if "max_batch" in settings.model_fields_set else BATCH
    return settings.model_copy(
        update={"max_batch": batch, "queue_limit": max(settings.queue_limit, 4 * batch), "feature_cache_bytes": 0}
    )


def segment_chunks(
    job: Job, size: Size, destination: Destination, to_do: Sequence[int], cluster: Cluster | None, max_rate: float
) -> int:
    """Segment the remaining chunks on a cluster, or without one in this process.

    Returns:
        The exit status: 1 if more than a share of `max_rate` (0 to 1) failed, 130 if Ctrl-C ended it, else 0.

    Raises:
        ModelError: the model cannot be loaded, or the cluster cannot be joined.
    """
    before = size.inputs - _inputs_of(destination, to_do, size)
    reports = _in_process(job, to_do) if cluster is None else segment_on(cluster, job, to_do)
    fresh = failures = 0
    reasons: list[str] = []
    too_many = False
    try:
        with bar_of("pictures", size.inputs, before) as bar:
            for report in reports:
                bar.step(report.inputs)
                fresh += report.inputs
                failures += report.failures
                reasons += report.reasons[: MAX_REASONS - len(reasons)]
                too_many = fresh >= MIN_JUDGED and failures > max_rate * fresh
                if too_many:
                    break
    except KeyboardInterrupt:
        typer.echo("lexiseg: stopped; the same command goes on with the rest", err=True)
        return INTERRUPTED_STATUS
    for reason in reasons:
        typer.echo(f"lexiseg: {reason}", err=True)
    if too_many:
        typer.echo(
            f"lexiseg: ended early: {failures:,} of {fresh:,} pictures failed, more than "
            f"{max_rate:.0%}; with --retry-failed the same command tries them again",
            err=True,
        )
    return int(too_many)


def _in_process(job: Job, to_do: Sequence[int]) -> Iterator[Report]:
    with closing(Segmenting(job)) as segmenting:
        yield from map(segmenting.segment, to_do)


def _inputs_of(destination: Destination, chunks: Sequence[int], size: Size) -> int:
    """The number of inputs in chunks: all but the last have as many as the first."""
    full = len(destination.chunk(0))
    return full * len(chunks) - (full * size.chunks - size.inputs if chunks[-1] == size.chunks - 1 else 0)
