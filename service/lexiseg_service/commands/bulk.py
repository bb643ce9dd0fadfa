"""`lexiseg bulk`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lexiseg_labels.exports import formats
from lexiseg_model.command_line.options import Background, Classes, VocabularyName
from lexiseg_service.commands import options
from lexiseg_service.commands.options import check_installed, takes_settings
from lexiseg_service.errors import ServiceError
from lexiseg_service.settings import Settings

if TYPE_CHECKING:
    from lexiseg_service.batch.description import JobInput

OPTION = "'--job'"
Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder of pictures, parquet, a CSV of addresses, tars; a path or s3://..., with * or {000..127}",
    ),
]
Destination = Annotated[str | None, typer.Argument(metavar="DST", help="Folder for the rows; a path or s3://...")]
Description = Annotated[
    Path | None,
    typer.Option(
        "--job", metavar="FILE", help="Question and pictures: the JSON of POST /v1/jobs; DST is the only argument"
    ),
]
TaskName = Annotated[
    Literal["semantic", "instance", "panoptic"],
    typer.Option(help="What a segment is: a class, an object, or either (things and stuff)"),
]
Kind = Annotated[
    Literal["files", "csv", "parquet", "webdataset"] | None,
    typer.Option("--from", help="The kind of SRC, where its name does not tell"),
]
IdColumn = Annotated[str | None, typer.Option(help="Column of ids in a table [default: id, or the address]")]
ImageColumn = Annotated[
    str | None, typer.Option(help="Column of pictures or their addresses [default: url, image, path, ...]")
]
Formats = Annotated[
    list[str] | None,
    typer.Option(metavar="FORMAT", help=f"Also write the answers as {', '.join(formats())} or webdataset; repeat it"),
]
RowsPerFile = Annotated[
    int, typer.Option(min=1, help="Inputs in one file of rows; a killed actor loses at most so many")
]
MaxFailureRate = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="End early when more than this share of at least 100 pictures failed")
]
RetryFailed = Annotated[bool, typer.Option(help="Do pictures again that failed before")]
Local = Annotated[bool, typer.Option("--local", help="Work in this process, without Ray")]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        envvar="RAY_ADDRESS",
        help="A Ray cluster [default: start one on this machine for this job]",
    ),
]
Actors = Annotated[str, typer.Option(metavar="N|MIN:MAX", help="Processes that hold the model")]
Cpus = Annotated[float, typer.Option(min=0.0, help="Cores that Ray reserves for each actor")]
Gpus = Annotated[float, typer.Option(min=0.0, help="GPUs for each actor; 0.25 lets four share one")]


@takes_settings("bulk")
def bulk(
    source: Source,
    settings: Settings,
    destination: Destination = None,
    description: Description = None,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    head: options.HeadName = None,
    task: TaskName = "semantic",
    background: Background = None,
    threshold: options.Threshold = None,
    max_side: options.MaxSide = None,
    kind: Kind = None,
    id_column: IdColumn = None,
    image_column: ImageColumn = None,
    to: Formats = None,
    rows_per_file: RowsPerFile = 1000,
    max_failure_rate: MaxFailureRate = 0.5,
    retry_failed: RetryFailed = False,
    local: Local = False,
    ray: RayAddress = None,
    actors: Actors = "1",
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
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
    check_installed("bulk", "bulk", "pyarrow")
    from lexiseg_service.batch.bulk import BulkInput, cluster_of, run
    from lexiseg_service.batch.description import JobInput
    from lexiseg_service.commands.question import question_of

    if description is not None:
        typed = (destination, classes, vocabulary, head, background, threshold, max_side)
        if any(each is not None for each in typed) or task != "semantic":
            raise typer.BadParameter("DST alone goes with it; the file has the rest", param_hint=OPTION)
        destination, job = source, _read(description, settings)
    elif destination is None:
        raise typer.BadParameter("a folder for the rows is missing", param_hint="'DST'")
    else:
        fields: dict[str, Any] = {"background": background, "threshold": threshold, "max_side": max_side, "head": head}
        question = question_of(classes, vocabulary, task=task, required=not head, others=", or --head NAME", **fields)
        job = JobInput.model_construct(question=question, folder=source)  # unchecked: a path has any bytes
    cluster = None if local else cluster_of(ray, actors, cpus, gpus)
    bulk_input = BulkInput(job, destination, to or [], kind, id_column, image_column)
    raise typer.Exit(run(bulk_input, settings, cluster, rows_per_file, max_failure_rate, retry_failed=retry_failed))


def _read(path: Path, settings: Settings) -> JobInput:
    from lexiseg_service.batch.description import read_description

    try:
        job = read_description(path, settings.limits)
    except (OSError, ServiceError) as error:
        reason = error.detail if isinstance(error, ServiceError) else error.strerror
        raise typer.BadParameter(f"{path}: {reason}", param_hint=OPTION) from None
    if job.webhook is not None:
        typer.echo(f"lexiseg: bulk calls no webhook; that of {path} is left out", err=True)
    return job
