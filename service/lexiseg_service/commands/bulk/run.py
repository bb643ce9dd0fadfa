"""`lexiseg bulk`: plan once, segment what has no rows yet, count at the end.

list the source -> plan (once) -> chunks without rows -> model, here or on Ray -> rows -> count -> other forms
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import typer

from lexiseg_model import catalogue
from lexiseg_model.types import ModelName
from lexiseg_service.commands.bulk import on_ray
from lexiseg_service.commands.bulk.converting.forms import Form, convert
from lexiseg_service.commands.bulk.counting import Counted, count, count_here
from lexiseg_service.commands.bulk.job import Job, batch_settings, planned, record
from lexiseg_service.commands.bulk.plan import Destination, Size, rows_name, write_plan
from lexiseg_service.commands.bulk.progress import Shown, Tally
from lexiseg_service.commands.bulk.rows import FAILED
from lexiseg_service.commands.bulk.segmenting import Report, Segmenting
from lexiseg_service.commands.bulk.sources import Source, items
from lexiseg_service.commands.bulk.tables import Table
from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.settings import Settings

STOPPED = 130  # what shells say of a program that Ctrl-C ended
ENOUGH = 100  # pictures after which a rate of failures says something


@dataclass(frozen=True)
class Way:
    """How a job is to be done; `cluster` None is in this process."""

    cluster: on_ray.Cluster | None
    rows_per_file: int
    most_failures: float
    again: bool
    forms: tuple[Form, ...]


def run(source: Source, destination_url: str, question: Question, settings: Settings, way: Way) -> int:
    """Does what is left of a job. Returns 1 where the failures were too many, 130 where Ctrl-C ended it.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded, the source cannot be read, the destination is of another job, or rows
            are lost.
    """
    settings = batch_settings(settings)
    job = Job(
        source,
        destination_url,
        question,
        resolved(question.validated(), settings),
        settings,
        _model_of(settings),
        again=way.again,
        gpu_share=way.cluster.gpus if way.cluster else 0.0,
    )
    destination = Destination(destination_url)
    size = planned(job, destination)
    if size is None:
        size = write_plan(destination, items(source), way.rows_per_file)
        record(job, destination, size)
    done = destination.done() & set(range(size.chunks))
    again = _with_failures(destination, done) if way.again else set()
    to_do = sorted(set(range(size.chunks)) - (done - again))
    if to_do:
        status = _work(replace(job, model_digest=_digest_of(destination, done)), size, destination, to_do, way)
        if status:
            return status
    return _finish(job, size, destination, way)


def _work(job: Job, size: Size, destination: Destination, to_do: Sequence[int], way: Way) -> int:
    before = size.inputs - _inputs_of(destination, to_do, size)
    if before:
        typer.echo(f"{before:,} of {size.inputs:,} pictures were done before", err=True)
    tally = Tally(size.inputs, before)
    reports: Iterable[Report]
    if way.cluster is None:
        reports = _here(job, to_do)
    else:
        on_ray.connect(way.cluster)
        reports = on_ray.segment_on(way.cluster, job, to_do)
    try:
        with Shown(tally) as shown:
            for report in reports:
                tally.add(report)
                shown.update()
                if tally.fresh >= ENOUGH and tally.failure_rate > way.most_failures:
                    break
    except KeyboardInterrupt:
        typer.echo("lexiseg: stopped; the same command goes on with the rest", err=True)
        return STOPPED
    typer.echo(str(tally), err=True)
    for reason in tally.reasons:
        typer.echo(f"lexiseg: {reason}", err=True)
    if tally.fresh >= ENOUGH and tally.failure_rate > way.most_failures:
        typer.echo(
            f"lexiseg: ended early: {tally.failures:,} of {tally.fresh:,} pictures failed, more than "
            f"{way.most_failures:.0%}; with --retry-failed the same command tries them again",
            err=True,
        )
        return 1
    return 0


def _here(job: Job, to_do: Sequence[int]) -> Iterable[Report]:
    if not to_do:
        return
    segmenting = Segmenting(job)
    try:
        yield from map(segmenting, to_do)
    finally:
        segmenting.close()


def _finish(job: Job, size: Size, destination: Destination, way: Way) -> int:
    each: Callable[[Destination, Sequence[int]], Iterable[Counted]] = count_here
    if way.cluster is not None:
        on_ray.connect(way.cluster)
        each = on_ray.count_on
    total = count(destination, size, each)
    destination.sweep()
    typer.echo(
        f"{total.rows:,} inputs, {total.rows:,} rows, none lost and none twice; {total.failures:,} failures: "
        f"{job.destination}/rows"
    )
    for form in way.forms:
        typer.echo(f"{form}: {convert(form, job, destination, size)}")
    return 0


def _model_of(settings: Settings) -> str:
    return str(ModelName.of(catalogue.find(settings.default_model or settings.model, settings.models_dir).card))


def _with_failures(destination: Destination, done: Iterable[int]) -> set[int]:
    return {chunk for chunk in done if FAILED in _column(destination, chunk, "status")}


def _digest_of(destination: Destination, done: Iterable[int]) -> str | None:
    """Of the model of the rows that are there."""
    chunk = min(done, default=None)
    return None if chunk is None else str(_column(destination, chunk, "model_digest")[0])


def _column(destination: Destination, chunk: int, name: str) -> list[object]:
    with destination.open(rows_name(chunk)) as content, Table(content) as table:
        return list(table.read([name]).column(0).to_pylist())


def _inputs_of(destination: Destination, chunks: Sequence[int], size: Size) -> int:
    """All chunks but the last have as many inputs as the first."""
    if not chunks:
        return 0
    full = len(destination.chunk(0))
    return full * len(chunks) - (full * size.chunks - size.inputs if chunks[-1] == size.chunks - 1 else 0)
