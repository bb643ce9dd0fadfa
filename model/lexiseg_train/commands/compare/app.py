"""`lexiseg compare`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.options import Background, Classes, Grouped, JsonReport, VocabularyName
from lexiseg_model.command_line.outputs import output_file, write_json, write_text
from lexiseg_train.commands.program import Program

app = typer.Typer(rich_markup_mode=None)


@app.command(cls=Grouped)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model: NAME, NAME@VERSION or a model directory")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs, without labels")],
    program: Annotated[Program, "compare"],
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
    class_list = program.class_list(classes, vocabulary, background=background)
    program.check_models(a, b)
    from lexiseg_train.commands.compare.report import compare_models  # imports torch: after all checks

    report = compare_models((a, b), folder, class_list, program)
    write_text(out, report.html(shown))
    write_json(json, report.figures)
    photographs = report.figures["photographs"]
    typer.echo(f"{a} and {b} agree on {report.share:.2%} of the pixels of {len(photographs)} photographs")
    typer.echo(f"least, {photographs[0]['agreement']:.2%}, on {photographs[0]['photograph']}")
    for path, reason in report.figures["unread"].items():
        typer.echo(f"lexiseg: {path}: {reason}", err=True)
    typer.echo(str(out))
    raise typer.Exit(int(least is not None and report.share < least))
