"""`lexiseg segment`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lexiseg_labels.exports import formats
from lexiseg_model.command_line.options import STDOUT, Background, Classes, Quiet, Server, VocabularyName, output_folder
from lexiseg_model.types import Task
from lexiseg_service.commands import options
from lexiseg_service.commands.options import check_server, takes_settings
from lexiseg_service.settings import Settings

if TYPE_CHECKING:  # imported where it is used: the command line must start without it
    from lexiseg_service.question.schemas import TaskQuestion as Question

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", help="Files, folders, patterns as 'photos/**/*.jpg', URLs, - for the standard input"
    ),
]
Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        metavar="NAME=FILE@LEFT,TOP,RIGHT,BOTTOM",
        help="A box (or a point X,Y) in a photograph that shows a class; repeat it for more examples or classes",
    ),
]
Negatives = Annotated[
    list[str] | None,
    typer.Option("--not", metavar="NAME=FILE@...", help="A counterexample of a class with examples"),
]
TaskName = Annotated[
    Literal["semantic", "instance", "panoptic", "everything"] | None,
    typer.Option(
        help="What a segment is: a class, an object, either (things and stuff), or anything [default: semantic]"
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of the results; - is the standard output", callback=output_folder)]


def _format(name: str) -> str:
    """The name of a format, of which there may be another."""
    from lexiseg_service.commands.segment.run import format_named

    try:
        return format_named(name).name
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


FormatName = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        callback=_format,
        help=f"{', '.join([*formats(), 'cutout'])} [default: coco, with a painted picture each]",
        show_default=False,
    ),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave out images with results, even if the image changed since")
]


@takes_settings("segment")
def segment(
    context: typer.Context,
    images: Images,
    settings: Settings,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    points: options.Points = None,
    boxes: options.Boxes = None,
    prompts: options.Prompts = None,
    examples: Examples = None,
    negatives: Negatives = None,
    task: TaskName = None,
    out: Out = Path("out"),
    kind: FormatName = "coco",
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
    background: Background = None,
    head: options.HeadName = None,
    threshold: options.Threshold = None,
    doubtful: options.Doubtful = False,
    max_side: options.MaxSide = None,
    language: options.Language = None,
    server: Server = None,
) -> None:
    """Segment images in this process or by a server: an overlay PNG each and one COCO JSON, or another format.

    Ask with words (-c, --vocabulary), with points and boxes (--point, --box, --prompt), or with both: then the mask of
    a point gets the label that fits. The same prompts hold for every file. `prompt_index` in the JSON counts the
    points, then the boxes, then the prompts of several parts. --task panoptic also writes panoptic.json and the maps
    in panoptic/, as panopticapi reads them. Nothing is replaced: the same command continues with the files that are
    not done, another question gets the folder OUT-2. Where every image fails nothing is written. Rasters of
    any size, as GeoTIFF: lexiseg segment-scene.

    \b
    Examples:
      lexiseg segment street.jpg -c car -c road --out out/
      lexiseg segment photos/*.jpg -c sky -c building -c "traffic sign" --no-background
      lexiseg segment photos/ -c cat -c dog --format yolo --out dataset/
      lexiseg segment - -c sky --format label-maps --out - < street.jpg > sky.png
      lexiseg segment photo.jpg --point 120,80 --box 10,20,200,180
      lexiseg segment photo.jpg --prompt "120,80 130,90 -40,60 10,20,200,180" -c cat -c dog
      lexiseg segment street.jpg --vocabulary cityscapes --task panoptic --no-background
      lexiseg segment photos/*.jpg --example "our mascot=party.jpg@10,20,200,180" -c person
      lexiseg segment photos/*.jpg -c sky --server http://localhost:8000
    """
    from lexiseg_service.commands.image_files import sources_of
    from lexiseg_service.commands.question import read_prompts, with_examples
    from lexiseg_service.commands.segment.run import Job, run

    class_list = with_examples(classes or (), examples or (), negatives or (), settings.limits)
    shapes = read_prompts(points or [], boxes or [], prompts or [])
    fields: dict[str, Any] = {"prompts": shapes or None, "background": background, "threshold": threshold}
    fields |= {"head": head, "doubtful": doubtful or None, "max_side": max_side, "language": language}
    question = _question(class_list, vocabulary, task, fields)
    check_server(context, server)
    sources = sources_of(images, settings.limits, None if str(out) == STDOUT else out)
    example_texts = (*(examples or ()), *(f"not {text}" for text in negatives or ()))
    job = Job(sources, question, out, kind, quiet, skip_existing, examples=example_texts)
    raise typer.Exit(run(job, settings, server))


def _question(
    classes: list[str | dict[str, Any]], vocabulary: str | None, task: Task | None, fields: dict[str, Any]
) -> Question:
    from lexiseg_service.commands.question import question_of

    prompted = fields["prompts"] is not None
    is_free = prompted or task == "everything"
    if prompted and task is not None:
        raise typer.BadParameter(f"points and boxes are a task of their own, not {task}", param_hint="'--task'")
    has_classes = classes or vocabulary or fields["head"]
    if is_free and fields["background"] is False and not has_classes:
        raise typer.BadParameter(
            "without classes there is no class for every pixel to get; leave it out, or give -c or --vocabulary",
            param_hint="'--no-background'",
        )
    fields["task"] = "prompt" if prompted else task or "semantic"
    others = ", or --head NAME" + ("" if task else ", or prompts")
    return question_of(classes, vocabulary, required=not (is_free or fields["head"]), others=others, **fields)
