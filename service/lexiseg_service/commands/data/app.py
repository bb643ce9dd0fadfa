"""`lexiseg data ...`: what training learns from, made ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="Data for training: check it.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[Path | None, typer.Option(help="Also write what was found here")]


@data.command("check")
def check_data(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A set with masks, a folder of sets, or pairs")],
    json: Json = None,
    examples: Annotated[int, typer.Option(min=0, help="How many files are named of each kind")] = 3,
) -> None:
    """Say what is wrong with a set before hours are spent on it; the exit status is 1 if it is unfit.

    A set with masks is SET/classes.json, SET/SPLIT/images and SET/SPLIT/masks. Pairs are tar shards, a folder with
    captions.json, a CSV or a JSON of COCO's captions. Every file is read.

    Examples:

      lexiseg data check /data/mine

      lexiseg data check /data/cc3m --json cc3m.json
    """
    from lexiseg_service.commands.data.check import run

    raise typer.Exit(run(source, json, examples))
