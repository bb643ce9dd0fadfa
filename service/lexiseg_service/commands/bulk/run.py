"""`lexiseg bulk`: plan once, segment what has no rows yet, count at the end.

list the source -> plan (once) -> chunks without rows -> model, here or on Ray -> rows -> count -> other formats
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import typer

from lexiseg_model import catalogue
from lexiseg_model.types import ModelName
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.bulk.export import WRITERS, Format
from lexiseg_service.commands.bulk.job import FAILED, Destination, Job, Size, count_rows, planned_size, write_plan
from lexiseg_service.commands.bulk.segmenting import Cluster, Report, Segmenting, connect, segment_on
from lexiseg_service.commands.bulk.sources import Source, items
from lexiseg_service.commands.in_process import check_model, resolved
from lexiseg_service.commands.question import Question
from lexiseg_service.settings import Settings

INTERRUPTED_STATUS = 130  # the exit status of a program that Ctrl-C ended
MIN_JUDGED = 100  # pictures, before a rate of failures ends the job
MAX_REASONS = 3  # reasons of failures
BATCH = 32  # tiles in one image pass by default: what a GPU needs to be busy


@dataclass(frozen=True)
class Options:
    """Options of a job; `cluster` None works in this process."""

    cluster: Cluster | None
    rows_per_file: int
    max_failure_rate: float
    retry_failed: bool
    formats: tuple[Format, ...]


def run(source: Source, destination_url: str, question: Question, settings: Settings, options: Options) -> int:
    """Do the rest of a job. Returns 1 if too many pictures failed, 130 if Ctrl-C ended it.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded, the source cannot be read, the destination is of another job, or rows
            are lost.
    """
    settings = batch_settings(settings)
    check_model(settings, question.task)
    card = catalogue.find(settings.default_model or settings.model, settings.models_dir).card
    job = Job(
        source,
        destination_url,
        question,
        resolved(question.validated(), settings),
        settings,
        str(ModelName.of(card)),
        retry_failed=options.retry_failed,
        gpu_share=options.cluster.gpus if options.cluster else 0.0,
    )
    destination = Destination(destination_url)
    size = planned_size(job, destination) or write_plan(job, destination, items(source), options.rows_per_file)
    done = destination.done() & set(range(size.chunks))
    if done:
        job = replace(job, model_digest=str(destination.rows(min(done), ["model_digest"])[0]["model_digest"]))
    if options.retry_failed:
        failed = {"status": FAILED}
        done = {chunk for chunk in done if failed not in destination.rows(chunk, ["status"])}
    to_do = sorted(set(range(size.chunks)) - done)
    if to_do and (status := _work(job, size, destination, to_do, options)):
        return status
    rows, failures = count_rows(destination, size)
    destination.remove_unfinished()
    typer.echo(
        f"{rows:,} inputs, {rows:,} rows, none lost and none twice; {failures:,} failures: {destination_url}/rows"
    )
    for name in options.formats:
        WRITERS[name](job, destination, size)
        typer.echo(f"{name}: {destination_url}/{name}")
    return 0


def batch_settings(settings: Settings) -> Settings:
    """Settings for many pictures at once: batches of a size for GPUs, a queue that holds two of them, no cache."""
    batch = settings.max_batch if "max_batch" in settings.model_fields_set else BATCH
    return settings.model_copy(
        update={"max_batch": batch, "queue_limit": max(settings.queue_limit, 4 * batch), "feature_cache_bytes": 0}
    )


def _work(job: Job, size: Size, destination: Destination, to_do: Sequence[int], options: Options) -> int:
    """Segment the remaining chunks; returns the exit status."""
    before = size.inputs - _inputs_of(destination, to_do, size)
    reports: Iterable[Report]
    if options.cluster is None:
        reports = _in_process(job, to_do)
    else:
        connect(options.cluster)
        reports = segment_on(options.cluster, job, to_do)
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
                too_many = fresh >= MIN_JUDGED and failures > options.max_failure_rate * fresh
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
            f"{options.max_failure_rate:.0%}; with --retry-failed the same command tries them again",
            err=True,
        )
    return int(too_many)


def _in_process(job: Job, to_do: Sequence[int]) -> Iterator[Report]:
    with closing(Segmenting(job)) as segmenting:
        yield from map(segmenting, to_do)


def _inputs_of(destination: Destination, chunks: Sequence[int], size: Size) -> int:
    """The number of inputs in chunks: all but the last have as many as the first."""
    full = len(destination.chunk(0))
    return full * len(chunks) - (full * size.chunks - size.inputs if chunks[-1] == size.chunks - 1 else 0)
