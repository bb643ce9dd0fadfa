"""`lexiseg compare`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_service.commands.options import Background, Chosen, Classes, JsonReport, VocabularyName, takes_settings
from lexiseg_service.commands.outputs import output_file


@takes_settings("compare")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model: NAME, NAME@VERSION or a model directory")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs, without labels")],
    chosen: Chosen,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    background: Background = None,
    out: Annotated[Path, typer.Option(help="The report, one HTML file", callback=output_file)] = Path(
        "comparison.html"
    ),
    json: JsonReport = None,
    shown: Annotated[int, typer.Option(min=0, help="Photographs with pictures in the report, the most different")] = 50,
    least: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fail when the models agree on a smaller share of the pixels")
    ] = None,
) -> None:
    """Compare two models on photographs: how much they agree, and where they differ most.

    No labels are needed: the report shows what would change, not what is better (for that: lexiseg eval --compare).

    Examples:

      lexiseg compare tiny tiny@1 photos/ -c sky -c building --out comparison.html

      lexiseg compare tcl@1 tcl@2 photos/ --vocabulary ade20k --least 0.9
    """
    from lexiseg_service.commands.in_process import check_named
    from lexiseg_service.commands.question import Question, check_classes

    check_classes(classes or (), vocabulary)
    question = Question(tuple(classes or ()), vocabulary, background, 0.0, None)
    check_named(chosen.settings, a, b)
    from lexiseg_service.commands.compare.run import run

    raise typer.Exit(run(a, b, folder, question, out, json, shown, least, chosen.settings))
