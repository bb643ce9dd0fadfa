"""`lexiseg bulk`: its options."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lexiseg_service.commands.options import (
    Background,
    Chosen,
    Classes,
    MaxSide,
    Threshold,
    VocabularyName,
    takes_settings,
)


@takes_settings("bulk")
def bulk(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="A folder of pictures, parquet, a CSV of addresses, tars; a path or s3://..., with * or {000..127}",
        ),
    ],
    destination: Annotated[str, typer.Argument(metavar="DST", help="Folder for the rows; a path or s3://...")],
    chosen: Chosen,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"],
        typer.Option(help="What a segment is: a class, an object, or either (things and stuff)"),
    ] = "semantic",
    background: Background = None,
    threshold: Threshold = None,
    max_side: MaxSide = None,
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
    """
    from lexiseg_service.commands.question import Question, check_classes

    check_classes(classes or (), vocabulary)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise typer.BadParameter("needs parquet: pip install pyarrow", param_hint="'bulk'") from None
    from lexiseg_model.catalogue.store import absolute
    from lexiseg_service.commands.bulk.export import WRITERS
    from lexiseg_service.commands.bulk.run import Options, run
    from lexiseg_service.commands.bulk.segmenting import Cluster
    from lexiseg_service.commands.bulk.sources import source_of

    for name in to or ():
        if name not in WRITERS:
            raise typer.BadParameter(f"expected one of {', '.join(WRITERS)}; got {name!r}", param_hint="'--to'")
    options = Options(
        None if local else Cluster(ray, _actors(actors), cpus, gpus),
        rows_per_file,
        max_failure_rate,
        retry_failed,
        tuple(name for name in WRITERS if name in (to or ())),
    )
    question = Question(tuple(classes or ()), vocabulary, background, threshold, max_side, task)
    pictures = source_of(absolute(source), kind, id_column, image_column)
    raise typer.Exit(run(pictures, absolute(destination), question, chosen.settings, options))


def _actors(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    try:
        bounds = int(low), int(high or low)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1]:
        raise typer.BadParameter(f"expected N, or MIN:MAX with 1 <= MIN <= MAX; got {text!r}", param_hint="'--actors'")
    return bounds
