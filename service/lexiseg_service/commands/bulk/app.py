"""`lexiseg bulk`: plan once, segment what has no rows yet, count at the end.

list the source -> plan (once) -> chunks without rows -> model, here or on Ray -> rows -> count -> other formats
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_model.command_line.options import Background, Classes, VocabularyName
from lexiseg_model.types import ModelName
from lexiseg_service.commands import options
from lexiseg_service.commands.options import check_installed, takes_settings
from lexiseg_service.settings import Settings


@takes_settings("bulk")
def bulk(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="A folder of pictures, parquet, a CSV of addresses, tars; a path or s3://..., with * or {000..127}",
        ),
    ],
    settings: Settings,
    destination: Annotated[
        str | None, typer.Argument(metavar="DST", help="Folder for the rows; a path or s3://...")
    ] = None,
    description: Annotated[
        Path | None,
        typer.Option(
            "--job", metavar="FILE", help="Question and pictures: the JSON of POST /v1/jobs; DST is the only argument"
        ),
    ] = None,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"],
        typer.Option(help="What a segment is: a class, an object, or either (things and stuff)"),
    ] = "semantic",
    background: Background = None,
    threshold: options.Threshold = None,
    max_side: options.MaxSide = None,
    kind: Annotated[
        Literal["files", "csv", "parquet", "webdataset"] | None,
        typer.Option("--from", help="The kind of SRC, where its name does not tell"),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column of ids in a table [default: id, or the address]")
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Column of pictures or their addresses [default: url, image, path, ...]")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="coco|webdataset|yolo", help="Also write the answers in this format; repeat it"),
    ] = None,
    rows_per_file: Annotated[
        int, typer.Option(min=1, help="Inputs in one file of rows; a killed actor loses at most so many")
    ] = 1000,
    max_failure_rate: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="End early when more than this share of at least 100 pictures failed"),
    ] = 0.5,
    retry_failed: Annotated[bool, typer.Option(help="Do pictures again that failed before")] = False,
    local: Annotated[bool, typer.Option("--local", help="Work in this process, without Ray")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            envvar="RAY_ADDRESS",
            help="A Ray cluster [default: start one on this machine for this job]",
        ),
    ] = None,
    actors: Annotated[str, typer.Option(metavar="N|MIN:MAX", help="Processes that hold the model")] = "1",
    cpus: Annotated[float, typer.Option(min=0.0, help="Cores that Ray reserves for each actor")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0.0, help="GPUs for each actor; 0.25 lets four share one")] = 0.0,
) -> None:
    """Segment millions of pictures on a Ray cluster or in this process, into parquet with one row for each input.

    A picture that cannot be read is a row with the reason. The same command continues after any crash; at the end
    inputs and rows are compared.

    Examples:

      lexiseg bulk photos/ answers/ -c car -c road --local

      lexiseg bulk "s3://mine/{000..999}.tar" s3://mine/answers --vocabulary ade20k --ray auto --actors 8 --gpus 1

      lexiseg bulk addresses.csv answers/ -c dog --to coco --to yolo --local

      lexiseg bulk --job job.json answers/ --ray auto --actors 8
    """
    from lexiseg_service.commands.question import question_of

    check_installed("bulk", "parquet", "pyarrow")
    urls: list[str] | None = None
    if description is not None:
        from lexiseg_service.commands.bulk.description import addresses, read_description

        if destination is not None or classes or vocabulary:
            raise typer.BadParameter("DST alone goes with it; the file has the rest", param_hint="'--job'")
        question, folder, urls, formats = read_description(description, settings.limits)
        source, destination, to = folder or "", source, [*formats, *(to or [])]
    else:
        question = question_of(
            classes, vocabulary, background=background, threshold=threshold, max_side=max_side, task=task
        )
    if destination is None:
        raise typer.BadParameter("a folder for the rows is missing", param_hint="'DST'")
    from lexiseg_model import catalogue
    from lexiseg_model.catalogue.store import absolute
    from lexiseg_service.commands.bulk.export import WRITERS
    from lexiseg_service.commands.bulk.job import Destination, Job, count_rows, planned_size, write_plan
    from lexiseg_service.commands.bulk.segmenting import Cluster, batch_settings, segment_chunks
    from lexiseg_service.commands.bulk.sources import items, source_of
    from lexiseg_service.commands.in_process import check_model, resolved
    from lexiseg_service.gateway.jobs.rows import FAILED

    for name in to or ():
        if name not in WRITERS:
            raise typer.BadParameter(f"expected one of {', '.join(WRITERS)}; got {name!r}", param_hint="'--to'")
    cluster = None if local else Cluster(ray, _actors(actors), cpus, gpus)
    folder_of_rows, destination = Destination(absolute(destination)), absolute(destination)
    if urls is not None:
        folder_of_rows.write("urls.csv", addresses(urls))
        source, kind = f"{destination}/urls.csv", "csv"
    pictures = source_of(absolute(source), kind, id_column, image_column)
    settings = batch_settings(settings)
    check_model(settings, question.task)
    card = catalogue.find(settings.default_model or settings.model, settings.models_dir).card
    job = Job(
        pictures,
        destination,
        question,
        resolved(question, settings),
        settings,
        str(ModelName.of(card)),
        retry_failed=retry_failed,
    )
    size = planned_size(job, folder_of_rows) or write_plan(job, folder_of_rows, items(pictures), rows_per_file)
    done = folder_of_rows.done() & set(range(size.chunks))
    if done:
        job = replace(job, model_digest=str(folder_of_rows.rows(min(done), ["model_digest"])[0]["model_digest"]))
    if retry_failed:
        done = {chunk for chunk in done if {"status": FAILED} not in folder_of_rows.rows(chunk, ["status"])}
    to_do = sorted(set(range(size.chunks)) - done)
    if to_do and (status := segment_chunks(job, size, folder_of_rows, to_do, cluster, max_failure_rate)):
        raise typer.Exit(status)
    rows, failures = count_rows(folder_of_rows, size)
    folder_of_rows.remove_unfinished()
    typer.echo(f"{rows:,} inputs, {rows:,} rows, none lost and none twice; {failures:,} failures: {destination}/rows")
    for name, write in WRITERS.items():
        if name in (to or ()):
            write(job, folder_of_rows, size)
            typer.echo(f"{name}: {destination}/{name}")


def _actors(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    try:
        bounds = int(low), int(high or low)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1]:
        raise typer.BadParameter(f"expected N, or MIN:MAX with 1 <= MIN <= MAX; got {text!r}", param_hint="'--actors'")
    return bounds
