"""`lexiseg calibrate`: its options, and its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexiseg_service.commands.options import Chosen, Server, refuse_key, refuse_own, takes_settings


@takes_settings("segment")
def calibrate(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Files, folders, patterns, URLs, as of `lexiseg segment`")
    ],
    chosen: Chosen,
    vocabulary: Annotated[str, typer.Option(help="The named class list that the thresholds are for")],
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of true masks, STEM.png of 1 + class index; 0: of no class, 255: left out"),
    ] = None,
    save_as: Annotated[
        str | None, typer.Option(help="Keep the list under another name; a built-in one cannot be changed")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html and its pictures")] = Path("calibration"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the report, keep no thresholds")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed")] = False,
    server: Server = None,
) -> None:
    """Find the score that segments of each class must reach, keep it in the vocabulary, and write a report.

    With --masks a class's threshold is the one under which its pixels overlap the true ones best. Without, scores that
    fall into two clear groups are parted in the middle of the gap; look at the report before you trust it. Classes
    without a threshold here keep theirs. `lexiseg segment --format labelmap` writes masks as --masks reads them.

    Examples:

      lexiseg calibrate --vocabulary rooms photos/

      lexiseg calibrate --vocabulary rooms photos/ --masks masks/ --server http://localhost:8000

      lexiseg calibrate --vocabulary voc21 photos/ --masks masks/ --save-as voc21-mine
    """
    from lexiseg_service.commands.calibrate.homes import at, here
    from lexiseg_service.commands.calibrate.looking import Looked
    from lexiseg_service.commands.calibrate.report import write_report
    from lexiseg_service.commands.calibrate.thresholds import choose
    from lexiseg_service.commands.segment.files import STOPPED, Manner, segment_files
    from lexiseg_service.commands.segment.sources import sources_of

    (refuse_key if server is None else refuse_own)(chosen)
    settings = chosen.settings
    if server is None and not dry_run and settings.state_dir is None and settings.redis_url is None:
        raise typer.BadParameter(
            "a vocabulary of this process is gone with it: name its place by LEXISEG_STATE_DIR or LEXISEG_REDIS_URL, a "
            "running server by --server, or give --dry-run",
            param_hint="'--vocabulary'",
        )
    sources = sources_of(images)
    home_of = here(vocabulary, settings) if server is None else at(server, vocabulary, settings)
    with home_of as home:
        looked = Looked(home.names, masks)
        status = segment_files(sources, home.ask, looked, Manner(True, limits=settings.limits))
        if status == STOPPED or not looked.shown:
            raise typer.Exit(status)
        choices = [choose(findings) for findings in looked.findings]
        thresholds = {
            name: choice.threshold
            for name, choice in zip(home.names, choices, strict=True)
            if choice.threshold is not None
        }
        under = save_as or vocabulary
        if dry_run:
            said = "Nothing is kept."
        elif thresholds or save_as:
            home.keep(thresholds, under)
            said = f"{len(thresholds)} of {len(choices)} classes have a threshold in the vocabulary {under}."
        else:
            said = "No class got a threshold; the vocabulary stays as it was."
    path = write_report(out, vocabulary, home.names, choices, looked, said)
    if not quiet:
        for name, choice in zip(home.names, choices, strict=True):
            shown = "-" if choice.threshold is None else f"{choice.threshold:.3f}"
            measured = choice.before is not None and choice.after is not None
            gain = f", IoU {choice.before:.3f} -> {choice.after:.3f}" if measured else ""
            typer.echo(f"{name}: {shown}{gain} ({choice.reason})")
        typer.echo(f"{said} Report: {path}")
    raise typer.Exit(status)
