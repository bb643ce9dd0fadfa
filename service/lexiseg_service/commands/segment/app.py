"""`lexiseg segment`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_model.command_line.options import Background, Classes, Quiet, Server, VocabularyName
from lexiseg_model.command_line.outputs import STDOUT, output_folder
from lexiseg_service.commands import options
from lexiseg_service.commands.options import check_server, takes_settings
from lexiseg_service.settings import Settings


@takes_settings("segment")
def segment(
    context: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Files, folders, patterns as 'photos/**/*.jpg', URLs, - for the standard input"
        ),
    ],
    settings: Settings,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    points: options.Points = None,
    boxes: options.Boxes = None,
    prompts: options.Prompts = None,
    examples: Annotated[
        list[str] | None,
        typer.Option(
            "--example",
            metavar="NAME=FILE@LEFT,TOP,RIGHT,BOTTOM",
            help="A box (or a point X,Y) in a photograph that shows a class; repeat it for more examples or classes",
        ),
    ] = None,
    negatives: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="NAME=FILE@...", help="A counterexample of a class with examples"),
    ] = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic", "everything"] | None,
        typer.Option(
            help="What a segment is: a class, an object, either (things and stuff), or anything [default: semantic]"
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the results; - is the standard output", callback=output_folder)
    ] = Path("out"),
    kind: Annotated[
        Literal["coco", "yolo", "voc", "labelme", "labelmap", "cutout"],
        typer.Option("--format", help="coco: one annotations.json and a picture each; others: files for each image"),
    ] = "coco",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out images with results, even if the image changed since")
    ] = False,
    quiet: Quiet = False,
    background: Background = None,
    threshold: options.Threshold = None,
    max_side: options.MaxSide = None,
    server: Server = None,
    # Until 0.5.0: `lexiseg segment-scene`.
    window: Annotated[int | None, typer.Option(min=64, hidden=True)] = None,
    bands: Annotated[str | None, typer.Option(hidden=True)] = None,
    stretch: Annotated[str | None, typer.Option("--range", hidden=True)] = None,
) -> None:
    """Segment images in this process or by a server: an overlay PNG each and one COCO JSON, or another format.

    Ask with words (-c, --vocabulary), with points and boxes (--point, --box, --prompt), or with both: then the mask of
    a point gets the label that fits. The same prompts hold for every file. `prompt_index` in the JSON counts the
    points, then the boxes, then the prompts of several parts. --task panoptic also writes panoptic.json and the maps
    in panoptic/, as panopticapi reads them. Nothing is replaced: the same command continues with the files that are
    not done, another question gets the folder OUT-2. Where every image fails nothing is written. Rasters of
    any size, as GeoTIFF: lexiseg segment-scene.

    Examples:

      lexiseg segment street.jpg -c car -c road --out out/

      lexiseg segment photos/*.jpg -c sky -c building -c "traffic sign" --no-background

      lexiseg segment photos/ --vocabulary ade20k

      lexiseg segment photos/ -c cat -c dog --format yolo --out dataset/

      lexiseg segment - -c sky --format labelmap --out - < street.jpg > sky.png

      lexiseg segment photo.jpg --point 120,80 --box 10,20,200,180

      lexiseg segment photo.jpg --prompt "120,80 130,90 -40,60 10,20,200,180" -c cat -c dog

      lexiseg segment street.jpg --vocabulary cityscapes --task panoptic --no-background

      lexiseg segment photos/*.jpg --example "our mascot=party.jpg@10,20,200,180" -c person

      lexiseg segment photo.jpg --task everything

      lexiseg segment photos/*.jpg -c sky --server http://localhost:8000
    """
    from lexiseg_service.commands.image_files import sources_of
    from lexiseg_service.commands.question import question_of, read_prompts, with_examples
    from lexiseg_service.commands.segment.run import Job, run

    prompt_list = read_prompts(points or [], boxes or [], prompts or [])
    class_list = with_examples(classes or (), examples or (), negatives or (), settings.limits)
    is_free = bool(prompt_list) or task == "everything"
    if prompt_list and task is not None:
        raise typer.BadParameter(f"points and boxes are a task of their own, not {task}", param_hint="'--task'")
    if is_free and background is False and not (class_list or vocabulary):
        raise typer.BadParameter(
            "without classes there is no class for every pixel to get; leave it out, or give -c or --vocabulary",
            param_hint="'--no-background'",
        )
    question = question_of(
        class_list,
        vocabulary,
        needed=not is_free,
        others="" if task else ", or prompts",
        task="prompt" if prompt_list else task or "semantic",
        prompts=prompt_list or None,
        background=background,
        threshold=threshold,
        max_side=max_side,
    )
    if window is not None:
        if any((server, prompt_list, examples, negatives, kind != "coco", str(out) == STDOUT, skip_existing)):
            reason = "takes words, works in this process, and writes files of its own into a folder"
            raise typer.BadParameter(reason, param_hint="'--window'")
        check_server(context, server)
        from lexiseg_service.commands.segment_scene.windows import reading_of
        from lexiseg_service.commands.segment_scene.windows import run as run_in_windows

        reading = reading_of(window, bands, stretch, settings.limits)
        raise typer.Exit(run_in_windows(images, question, out, settings, reading))
    if bands is not None or stretch is not None:
        raise typer.BadParameter("only with --window", param_hint="'--bands' / '--range'")
    check_server(context, server)
    sources = sources_of(images, None if str(out) == STDOUT else out)
    shown = (*(examples or ()), *(f"not {text}" for text in negatives or ()))
    job = Job(sources, question, out, kind, settings.limits, quiet, skip_existing, examples=shown)
    raise typer.Exit(run(job, settings, server))
