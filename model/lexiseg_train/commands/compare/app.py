"""`lexiseg compare`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.bar import echo
from lexiseg_model.command_line.options import Background, Classes, Grouped, JsonReport, VocabularyName, write_json
from lexiseg_train.commands.program import Program

app = typer.Typer(add_completion=False, rich_markup_mode=None)
MAX_PRINTED = 10  # photographs; --json has all


@app.command(cls=Grouped)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model: NAME, NAME@VERSION or a model directory")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs, without labels")],
    program: Annotated[Program, "compare"],
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    background: Background = None,
    json: JsonReport = None,
    least: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fail when the models agree on a smaller share of the pixels")
    ] = None,
) -> None:
    """Compare two models on photographs: how much they agree, and where they differ most.

    No labels are needed: the figures say what would change, not what is better (for that: lexiseg eval --compare).

    Examples:

      lexiseg compare tiny tiny@1 photos/ -c sky -c building --json comparison.json

      lexiseg compare tcl@1 tcl@2 photos/ --vocabulary ade20k --least 0.9
    """
    class_list = program.class_list(classes, vocabulary, background=background)
    program.check_models(a, b)
    from lexiseg_train.commands.compare.report import compare_models  # imports torch: after all checks

    figures = compare_models((a, b), folder, class_list, program)
    write_json(json, figures)
    photographs, share = figures["photographs"], figures["agreement"]
    echo(f"{a} and {b} agree on {share:.2%} of the pixels of {len(photographs)} photographs")
    for label, iou in figures["iou"].items():
        if iou is not None:
            echo(f"{iou:7.2%}  IoU of {label}")
    for each in photographs[:MAX_PRINTED]:
        swaps = ", ".join(f"{swap['a']} -> {swap['b']}" for swap in each["swaps"])
        echo(f"{each['agreement']:7.2%}  {each['photograph']}{f': {swaps}' if swaps else ''}")
    for path, reason in figures["unread"].items():
        echo(f"lexiseg: {path}: {reason}", err=True)
    raise typer.Exit(int(least is not None and share < least))
