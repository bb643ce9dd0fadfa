"""`lexiseg segment`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lexiseg_service.commands.options import Chosen, Server, refuse_key, refuse_own, takes_settings


@takes_settings("segment")
def segment(
    images: Annotated[list[Path], typer.Argument(help="Image files")],
    chosen: Chosen,
    classes: Annotated[list[str] | None, typer.Option("-c", "--class", help="A class to look for; repeat it")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="A named class list instead, as `ade20k`")] = None,
    points: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="X,Y", help="A click on an object, in pixels; repeat it for other objects"),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="A box around an object; repeat it for others"),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            metavar="'PART PART ...'",
            help="One object by several parts: points X,Y on it, points -X,Y beside it, a box; repeat it for others",
        ),
    ] = None,
    task: Annotated[
        Literal["semantic", "instance", "panoptic"] | None,
        typer.Option(help="A segment is a class, an object, or either (things and stuff) [default: semantic]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and annotations.json")] = Path("out"),
    background: Annotated[
        bool | None,
        typer.Option(help="Pixels that no class explains belong to nobody [default: yes, or the vocabulary's own]"),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Drop segments with a lower score, 0..1")] = 0.0,
    max_side: Annotated[int | None, typer.Option(help="Cap the network's input, in pixels")] = None,
    server: Server = None,
) -> None:
    """Segment image files, here or by a server: an overlay PNG each, and one COCO-style JSON for all.

    Asked with words (-c, --vocabulary), with clicks and boxes (--point, --box, --prompt), or with both: then each mask
    that a click shows gets the label that fits. The same prompts hold for every file. `prompt_index` in the JSON counts
    the points, then the boxes, then the prompts of several parts. With --task panoptic there are also panoptic.json
    and the maps in panoptic/, as panopticapi reads them. Nothing is replaced: the same command goes on with the
    files that are not done, another question gets the folder OUT-2.

    Examples:

      lexiseg segment street.jpg -c car -c road --out out/

      lexiseg segment photos/*.jpg -c sky -c building -c "traffic sign" --no-background

      lexiseg segment photos/*.jpg --vocabulary ade20k

      lexiseg segment photo.jpg --point 120,80 --box 10,20,200,180

      lexiseg segment photo.jpg --prompt "120,80 130,90 -40,60 10,20,200,180" -c cat -c dog

      lexiseg segment street.jpg --vocabulary cityscapes --task panoptic --no-background

      lexiseg segment photos/*.jpg -c sky --server http://localhost:8000
    """
    from lexiseg_service.commands.segment.prompts import read_prompts
    from lexiseg_service.commands.segment.question import Question, refuse_lists

    refuse_lists(classes or [])
    shown = tuple(read_prompts(points or [], boxes or [], prompts or []))
    if (classes and vocabulary) or not (classes or vocabulary or shown):
        others = "" if task else ", or prompts"
        raise typer.BadParameter(f"give either classes or --vocabulary NAME{others}", param_hint="'-c' / '--class'")
    if shown and task is not None:
        raise typer.BadParameter(f"points and boxes ask for what they show, not for {task}", param_hint="'--task'")
    if shown and background is False and not (classes or vocabulary):
        raise typer.BadParameter(
            "without classes there is no class for every pixel to get; leave it out, or give -c or --vocabulary",
            param_hint="'--no-background'",
        )
    question = Question(
        tuple(classes or ()),
        vocabulary,
        background,
        threshold,
        max_side,
        "prompt" if shown else task or "semantic",
        shown,
    )
    if server is None:
        refuse_key(chosen)
        from lexiseg_service.commands.segment.here import run

        raise typer.Exit(run(images, question, out, chosen.settings))
    refuse_own(chosen)
    from lexiseg_service.commands.segment.remote import run as ask_server

    raise typer.Exit(ask_server(images, question, out, chosen.settings, server))
