"""`lexiseg bulk`: plan once, segment what has no rows yet, count at the end.

list the source -> plan (once) -> chunks without rows -> model, here or on Ray -> rows -> count -> other formats
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import typer

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.store import absolute
from lexiseg_model.types import ModelName
from lexiseg_service.batch.bulk.description import addresses, read_description
from lexiseg_service.batch.bulk.export import WRITERS, bank_maker
from lexiseg_service.batch.bulk.job import Destination, Job, count_rows, planned_size, write_plan
from lexiseg_service.batch.bulk.segmenting import Cluster, batch_settings, segment_chunks
from lexiseg_service.batch.rows import FAILED
from lexiseg_service.batch.sources.tables import Kind, items, source_of
from lexiseg_service.in_process import check_model, resolved
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Settings


class Asked(NamedTuple):
    """What a job is about: its question, its pictures, and where the answers go."""

    question: Question
    source: str
    destination: str
    formats: Sequence[str]
    urls: list[str] | None = None  # pictures by address, in place of a source
    kind: Kind | None = None  # of the source; None: by its name
    id_column: str | None = None
    image_column: str | None = None


def asked_by(description: Path, destination: str, settings: Settings, formats: Sequence[str]) -> Asked:
    """What the JSON of `POST /v1/jobs` asks. Raises ServiceError: it is not as expected."""
    question, folder, urls, own = read_description(description, settings.limits)
    return Asked(question, folder or "", destination, [*own, *formats], urls)


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
    asked: Asked,
    settings: Settings,
    cluster: Cluster | None,
    rows_per_file: int,
    max_failure_rate: float,
    *,
    retry_failed: bool,
) -> int:
    """Segment the pictures, here or on a cluster, and write the other formats; returns the exit status.

    Raises:
        typer.BadParameter: there is no such format.
        ServiceError: the pictures or the model are not as expected.
        ModelError: the model is not there.
    """
    for name in asked.formats:
        if name not in WRITERS:
            raise typer.BadParameter(f"expected one of {', '.join(WRITERS)}; got {name!r}", param_hint="'--to'")
    destination = absolute(asked.destination)
    rows = Destination(destination)
    job = _job(asked, rows, destination, settings, retry_failed)
    if "bank" in asked.formats:
        bank_maker(job)  # refused before the work
    size = planned_size(job, rows) or write_plan(job, rows, items(job.source), rows_per_file)
    done = rows.done() & set(range(size.chunks))
    if done:
        job = replace(job, model_digest=str(rows.rows(min(done), ["model_digest"])[0]["model_digest"]))
    if retry_failed:
        done = {chunk for chunk in done if {"status": FAILED} not in rows.rows(chunk, ["status"])}
    to_do = sorted(set(range(size.chunks)) - done)
    if to_do and (status := segment_chunks(job, size, rows, to_do, cluster, max_failure_rate)):
        return status
    n_rows, failures = count_rows(rows, size)
    rows.remove_unfinished()
    typer.echo(
        f"{n_rows:,} inputs, {n_rows:,} rows, none lost and none twice; {failures:,} failures: {destination}/rows"
    )
    for name, write in WRITERS.items():
        if name in asked.formats:
            write(job, rows, size)
            typer.echo(f"{name}: {destination}/{name}")
    return 0


def _job(asked: Asked, rows: Destination, destination: str, settings: Settings, retry_failed: bool) -> Job:
    source, kind = asked.source, asked.kind
    if asked.urls is not None:
        rows.write("urls.csv", addresses(asked.urls))
        source, kind = f"{destination}/urls.csv", "csv"
    pictures = source_of(absolute(source), kind, asked.id_column, asked.image_column)
    settings = batch_settings(settings)
    check_model(settings, asked.question.task)
    card = catalogue.find(settings.first_model, settings.models_dir).card
    vocabulary = resolved(asked.question, settings)
    name = str(ModelName.of(card))
    return Job(pictures, destination, asked.question, vocabulary, settings, name, retry_failed=retry_failed)
