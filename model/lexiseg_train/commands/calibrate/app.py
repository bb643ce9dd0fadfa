"""`lexiseg calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_model.command_line.options import Grouped, Quiet, Server, output_folder
from lexiseg_train.commands.program import INTERRUPTED, Program

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=Grouped)
def calibrate(
    context: typer.Context,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Files, folders, patterns, URLs, as of `lexiseg segment`")
    ],
    program: Annotated[Program, "segment"],
    vocabulary: Annotated[str, typer.Option(help="The named class list that the thresholds are for")],
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of true masks, STEM.png of 1 + class index; 0: no class, 255: not counted"),
    ] = None,
    save_as: Annotated[
        str | None, typer.Option(help="Keep the list under another name; a built-in one cannot be changed")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html", callback=output_folder)] = Path("calibration"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the report, keep no thresholds")] = False,
    quiet: Quiet = False,
    server: Server = None,
) -> None:
    """Find a score threshold for each class, keep it in the vocabulary, and write a report.

    With --masks a class's threshold is the one with which its pixels overlap the true ones best; printed is the effect
    on each photograph of the threshold that all others give (leave-one-out). Without, it is the
    middle of the gap between two clear groups of scores; look at the report before you trust it. Classes that get no
    threshold keep the one they have. `lexiseg segment --format label-maps` writes masks as --masks reads them.

    Examples:

      lexiseg calibrate --vocabulary rooms photos/

      lexiseg calibrate --vocabulary rooms photos/ --masks masks/ --server http://localhost:8000

      lexiseg calibrate --vocabulary voc21 photos/ --masks masks/ --save-as voc21-mine
    """
    from lexiseg_train.commands.calibrate.thresholds import Calibration, refuse_missing, write_report

    program.check_server(context, server)
    photographs = program.photographs(images)
    refuse_missing(photographs, masks)
    if server is None:
        program.check_vocabulary(vocabulary, to_write=not dry_run)
    with program.server(server, "semantic") as served:
        calibration = Calibration(served, vocabulary, masks)
        status = calibration.segment(photographs)
        if status == INTERRUPTED or not calibration.findings.answers:
            raise typer.Exit(status)
        choices = calibration.choose()
        outcome = "Nothing is kept." if dry_run else calibration.save(choices, save_as)
    path = write_report(out, vocabulary, choices, calibration.findings, outcome)
    if not quiet:
        for name, choice in zip(calibration.findings.names, choices, strict=True):
            typer.echo(f"{name}: {choice}")
        typer.echo(f"{outcome} Report: {path}")
    raise typer.Exit(status)
