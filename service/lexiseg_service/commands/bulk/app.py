"""`lexiseg bulk`: its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexiseg_service.commands.options import Chosen, takes_settings

if TYPE_CHECKING:
    from lexiseg_service.commands.bulk.converting.forms import Form


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
    classes: Annotated[list[str] | None, typer.Option("-c", "--class", help="A class to look for; repeat it")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="A named class list instead, as `ade20k`")] = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"],
        typer.Option(help="A segment is a class, an object, or either (things and stuff)"),
    ] = "semantic",
    background: Annotated[
        bool | None,
        typer.Option(help="Pixels that no class explains belong to nobody [default: yes, or the vocabulary's own]"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Drop segments with a lower score, 0..1 (default: that of the model's card)")
    ] = None,
    max_side: Annotated[int | None, typer.Option(help="Cap the network's input, in pixels")] = None,
    kind: Annotated[
        Literal["files", "csv", "parquet", "webdataset"] | None,
        typer.Option("--from", help="What SRC is, where its name does not say"),
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of ids, of a table [default: id, or the place]")] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Column of pictures or their addresses [default: url, image, path and the like]")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="coco|webdataset|yolo", help="Write the answers in this form as well; repeat it"),
    ] = None,
    rows_per_file: Annotated[int, typer.Option(min=1, help="Inputs of one file; what a kill may cost an actor")] = 1000,
    max_failure_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="End early where more than this share failed, of 100 or more")
    ] = 0.5,
    retry_failed: Annotated[bool, typer.Option(help="Do the pictures again that failed before")] = False,
    local: Annotated[bool, typer.Option("--local", help="In this process, without Ray")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            envvar="RAY_ADDRESS",
            help="A Ray cluster [default: one of this machine, for this job]",
        ),
    ] = None,
    actors: Annotated[
        str, typer.Option(metavar="N|MIN:MAX", help="How many hold the model; more than there is room for wait for it")
    ] = "1",
    cpus: Annotated[float, typer.Option(min=0.0, help="Cores that Ray reserves for each")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0.0, help="GPUs for each; 0.25 lets four share one")] = 0.0,
) -> None:
    """Segment millions of pictures, each once, on a Ray cluster or in this process: parquet, one row for each input.

    A picture that cannot be read is a row with its reason. The same command goes on where it was, whatever was killed;
    at the end inputs and rows are counted against each other.

    Examples:

      lexiseg bulk photos/ answers/ -c car -c road --local

      lexiseg bulk "s3://mine/{000..999}.tar" s3://mine/answers --vocabulary ade20k --ray auto --actors 8 --gpus 1

      lexiseg bulk addresses.csv answers/ -c dog --to coco --to yolo --local
    """
    from lexiseg_service.commands.segment.question import Question, refuse_lists

    refuse_lists(classes or [])
    if bool(classes) == bool(vocabulary):
        raise typer.BadParameter("give either classes or --vocabulary NAME", param_hint="'-c' / '--class'")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise typer.BadParameter("needs parquet: pip install pyarrow", param_hint="'bulk'") from None
    from lexiseg_model.catalogue.store import absolute
    from lexiseg_service.commands.bulk.on_ray import Cluster
    from lexiseg_service.commands.bulk.run import Way, run
    from lexiseg_service.commands.bulk.sources import source_of

    way = Way(
        None if local else Cluster(ray, _actors(actors), cpus, gpus),
        rows_per_file,
        max_failure_rate,
        retry_failed,
        _forms(to or ()),
    )
    question = Question(tuple(classes or ()), vocabulary, background, threshold, max_side, task)
    found = source_of(absolute(source), kind, id_column, image_column)
    raise typer.Exit(run(found, absolute(destination), question, chosen.settings, way))


def _forms(names: Sequence[str]) -> tuple[Form, ...]:
    from lexiseg_service.commands.bulk.converting.forms import WRITERS

    for name in names:
        if name not in WRITERS:
            raise typer.BadParameter(f"expected one of {', '.join(WRITERS)}; got {name!r}", param_hint="'--to'")
    return tuple(form for form in WRITERS if form in names)


def _actors(text: str) -> tuple[int, int]:
    least, _, most = text.partition(":")
    try:
        bounds = int(least), int(most or least)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1]:
        raise typer.BadParameter(f"expected N, or MIN:MAX with 1 <= MIN <= MAX; got {text!r}", param_hint="'--actors'")
    return bounds
