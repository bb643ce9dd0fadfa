"""`lexiseg bulk`: plan once, work on what has no rows yet, count at the end.

list the source -> plan (once) -> chunks without rows -> model, here or on Ray -> rows -> count -> other formats

Ray Data keeps a pool of actors, assigns chunks and replaces actors that die. Only chunk numbers and reports pass
through Ray; actors read pictures from the store and write rows to it. The chunk of a dead actor goes to another one.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import typer

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.store import absolute
from lexiseg_model.command_line.bar import bar_of, echo
from lexiseg_model.errors import ModelError, OptionError
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import Vocabulary
from lexiseg_service.batch import question_copy
from lexiseg_service.batch.chunks import MAX_REASONS, BulkJob, ChunkWorker, Report, batch_settings
from lexiseg_service.batch.description import JobInput, stored, task_question
from lexiseg_service.batch.export import check_room, writer_of
from lexiseg_service.batch.formats import ROW_FORMS
from lexiseg_service.batch.ledger.folder import (
    QUESTION,
    RECORD,
    Destination,
    Size,
    count_rows,
    planned_size,
    write_plan,
)
from lexiseg_service.batch.question_copy import QuestionCopy
from lexiseg_service.batch.rows import FAILED
from lexiseg_service.batch.sources.listing import Kind, pictures_of, source_of
from lexiseg_service.errors import ServiceError
from lexiseg_service.in_process import check_model, head_of, resolved
from lexiseg_service.question.classes import with_learned
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.schemas import Question, TaskQuestion
from lexiseg_service.settings import Settings

INTERRUPTED_STATUS = 130  # the exit status of a program that Ctrl-C ended
MIN_JUDGED = 100  # pictures, before a rate of failures ends the job
MAX_BLOCKS = 10_000  # blocks of the list of chunks; Ray's driver tracks each
CHUNKS_AHEAD = 2  # chunks assigned to an actor: one in work, one queued
CONNECT_SECONDS = 5.0  # to a head node's port; Ray itself tries for two minutes
RAY_LOG = re.compile(r"\.(?:cc|h):\d+: (.+)$", re.MULTILINE)  # a line of Ray's core: its place in the source, the text


class BulkInput(NamedTuple):
    """What a command asks: a job's description, where the rows go, and the formats to write with them."""

    description: JobInput
    destination: str
    formats: Sequence[str]
    kind: Kind | None = None  # of the source; None: by its name
    id_column: str | None = None
    image_column: str | None = None


class Cluster(NamedTuple):
    """Ray cluster of a job, and resources of each actor."""

    address: str | None  # Ray's: HOST:PORT of a head node, `auto` for this machine's; None: one for this job
    actors: tuple[int, int]  # at least, at most
    cpus: float
    gpus: float


def cluster_of(address: str | None, actors: str, cpus: float, gpus: float) -> Cluster:
    """The cluster of a command line. Raises typer.BadParameter: `actors` is neither N nor MIN:MAX."""
    low, _, high = actors.partition(":")
    try:
        bounds = int(low), int(high or low)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1]:
        expected = f"expected N, or MIN:MAX with 1 <= MIN <= MAX; got {actors!r}"
        raise typer.BadParameter(expected, param_hint="'--actors'")
    return Cluster(address, bounds, cpus, gpus)


def run(
    bulk: BulkInput,
    settings: Settings,
    cluster: Cluster | None,
    rows_per_file: int,
    max_failure_rate: float,
    *,
    retry_failed: bool,
) -> int:
    described = [] if bulk.description.to in ROW_FORMS else [bulk.description.to]
    try:
        writers = dict(map(writer_of, [*described, *bulk.formats]))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--to'") from None
    destination = absolute(bulk.destination)
    rows = Destination(destination)
    job = _job(bulk, rows, destination, settings, retry_failed)
    try:
        check_room(writers, [entry.name for entry in job.vocabulary.classes])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--to'") from None
    if (size := planned_size(job.identity, rows)) is None:
        # Write what a question names next to the plan: whatever is changed or deleted later, the job goes on with it.
        about = {"sent": stored(bulk.description.question), "question": stored(job.question)}
        copy = QuestionCopy(WorkerRequest(None, job.vocabulary, job.model, job.question.task), "")
        rows.write(QUESTION, json.dumps(about).encode() + b"\n" + question_copy.encode(copy))
        size = write_plan(job.identity, rows, pictures_of(job.source), rows_per_file)
    complete = rows.complete_chunks() & set(range(size.chunks))
    if complete:
        job = replace(job, model_digest=str(rows.rows(min(complete), ["model_digest"])[0]["model_digest"]))
    if retry_failed:
        complete = {chunk for chunk in complete if {"status": FAILED} not in rows.rows(chunk, ["status"])}
    to_do = sorted(set(range(size.chunks)) - complete)
    if to_do and (status := segment_chunks(job, size, rows, to_do, cluster, max_failure_rate)):
        return status
    n_rows, failures = count_rows(rows, size)
    rows.remove_unfinished()
    echo(f"{n_rows:,} inputs, {n_rows:,} rows, none lost and none twice; {failures:,} failures: {destination}/rows")
    for name, write in writers.items():
        write(job, rows, size)
        echo(f"{name}: {destination}/{name}")
    return 0


def _job(bulk: BulkInput, rows: Destination, destination: str, settings: Settings, retry_failed: bool) -> BulkJob:
    source, kind = bulk.description.folder, bulk.kind
    if bulk.description.urls is not None:
        quoted = (f'"{url.replace(chr(34), chr(34) * 2)}"\n' for url in bulk.description.urls)
        rows.write("urls.csv", "".join(["url\n", *quoted]).encode())
        source, kind = f"{destination}/urls.csv", "csv"
    assert source is not None  # the description names one
    pictures = source_of(absolute(source), kind, bulk.id_column, bulk.image_column)
    question_input = bulk.description.question
    question, vocabulary, name = _read_resolution(rows, question_input, settings) or _resolve(question_input, settings)
    settings = batch_settings(settings).model_copy(update={"model": name})
    check_model(settings, question.task)
    return BulkJob(pictures, destination, question, vocabulary, settings, name, retry_failed=retry_failed)


class Resolution(NamedTuple):
    """A question with the version of its head, the classes that it names, and NAME@VERSION of its model."""

    question: TaskQuestion
    vocabulary: Vocabulary
    model: str


def _resolve(question_input: Question, settings: Settings) -> Resolution:
    question = task_question(question_input)
    check_model(settings, question.task)
    card = catalogue.find(settings.first_model, settings.models_dir).card
    vocabulary = resolved(question, settings, words_alone=True)
    if (head := head_of(question, settings)) is not None:
        vocabulary = with_learned(vocabulary, head.entries, settings.limits)
        question = question.model_copy(update={"head": head.exact_name})
    return Resolution(question, vocabulary, str(ModelName.from_card(card)))


def _read_resolution(rows: Destination, question_input: Question, settings: Settings) -> Resolution | None:
    """What the question of a planned job named; None: there is no plan, or it is another job's or an earlier release's.

    A line says where that is not what it names now.
    """
    if rows.read(RECORD) is None or (content := rows.read(QUESTION)) is None:
        return None
    head, _, message = content.partition(b"\n")
    about, request = json.loads(head), question_copy.decode(message).request
    model, first_model = ModelName.parse(request.model), ModelName.parse(settings.first_model)
    if about["sent"] != stored(question_input) or first_model not in (model, ModelName(model.name)):
        return None
    first = Resolution(TaskQuestion.model_validate(about["question"]), request.vocabulary, request.model)
    try:
        is_same = _resolve(question_input, settings) == first
    except (ServiceError, ModelError):
        is_same = False
    if not is_same:
        changed = "its words, head or model have changed since; name another folder for the new ones"
        echo(f"lexiseg: {rows.url} goes on with the question of its beginning: {changed}", err=True)
    return first


def segment_chunks(
    job: BulkJob, size: Size, destination: Destination, to_do: Sequence[int], cluster: Cluster | None, max_rate: float
) -> int:
    each = len(destination.chunk(0))  # inputs in all chunks but the last
    last = each - (each * size.chunks - size.inputs if to_do[-1] == size.chunks - 1 else 0)
    before = size.inputs - each * (len(to_do) - 1) - last
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
        echo("lexiseg: stopped; the same command goes on with the rest", err=True)
        return INTERRUPTED_STATUS
    for reason in reasons:
        echo(f"lexiseg: {reason}", err=True)
    if too_many:
        echo(
            f"lexiseg: ended early: {failures:,} of {fresh:,} pictures failed, more than "
            f"{max_rate:.0%}; with --retry-failed the same command tries them again",
            err=True,
        )
    return int(too_many)


def _in_process(job: BulkJob, to_do: Sequence[int]) -> Iterator[Report]:
    with closing(ChunkWorker(job)) as worker:
        yield from map(worker.work_on, to_do)


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
