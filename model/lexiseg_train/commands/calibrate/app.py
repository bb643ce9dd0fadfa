"""`lexiseg calibrate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_client.question.options import background_json
from lexiseg_model.command_line.options import Grouped, Quiet, Server
from lexiseg_model.command_line.outputs import output_folder
from lexiseg_service.commands.options import check_server, takes_settings
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

app = typer.Typer(rich_markup_mode=None)


@app.command(cls=Grouped)
@takes_settings("segment")
def calibrate(
    context: typer.Context,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Files, folders, patterns, URLs, as of `lexiseg segment`")
    ],
    settings: Settings,
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
    threshold keep the one they have. `lexiseg segment --format labelmap` writes masks as --masks reads them.

    Examples:

      lexiseg calibrate --vocabulary rooms photos/

      lexiseg calibrate --vocabulary rooms photos/ --masks masks/ --server http://localhost:8000

      lexiseg calibrate --vocabulary voc21 photos/ --masks masks/ --save-as voc21-mine
    """
    from lexiseg_service.commands.image_files import STDIN, sources_of
    from lexiseg_service.commands.question import question_of
    from lexiseg_service.commands.segment.run import segment_files
    from lexiseg_service.commands.serving.local import open_server
    from lexiseg_service.gateway.vocabularies.collection import with_vocabularies
    from lexiseg_train.commands.calibrate.report import write_report
    from lexiseg_train.commands.calibrate.thresholds import Findings, choose, refuse_missing

    check_server(context, server)
    if server is None and not dry_run and settings.state_dir is None and settings.redis_url is None:
        raise typer.BadParameter(
            "vocabularies of this process end with it: say where they are by LEXISEG_STATE_DIR or LEXISEG_REDIS_URL, "
            "name a running server by --server, or give --dry-run",
            param_hint="'--vocabulary'",
        )
    if STDIN in images:
        raise typer.BadParameter("not from the standard input: the report reads them again", param_hint="'IMAGE...'")
    sources = sources_of(images)
    refuse_missing(sources, masks)
    if server is None:
        with_vocabularies(settings, lambda vocabularies: vocabularies.find(vocabulary))
    with open_server(server, settings, "semantic") as asked:
        kept = asked.vocabulary(vocabulary)
        if not kept.background:
            expected = "one whose `background` is on: where every pixel gets a class nothing is dropped"
            raise InvalidValue.of("--vocabulary", vocabulary, expected)
        # About the classes' words; no segment is dropped for its score.
        words = [{"name": one.name, "synonyms": list(one.synonyms), "threshold": 0.0} for one in kept.classes]
        question = question_of(words, None, background=background_json(kept.background))
        findings = Findings([one.name for one in kept.classes], masks)
        segmented = segment_files(
            sources, lambda content: asked.segment(content, question.fields), findings.add, settings.limits, quiet=True
        )
        segmented.report()
        if segmented.stopped or not findings.answers:
            raise typer.Exit(segmented.status)
        findings.refuse_empty_truth()
        choices = [choose(of_class) for of_class in findings.by_class]
        named = dict(zip(findings.names, choices, strict=True))
        thresholds = {name: choice.threshold for name, choice in named.items() if choice.threshold is not None}
        target = save_as or vocabulary
        if dry_run:
            outcome = "Nothing is kept."
        elif thresholds or save_as:
            classes = [replace(one, threshold=thresholds.get(one.name, one.threshold)) for one in kept.classes]
            asked.keep_vocabulary(target, classes, kept)
            outcome = f"{len(thresholds)} of {len(choices)} classes have a threshold in the vocabulary {target}."
        else:
            outcome = "No class got a threshold; the vocabulary stays as it was."
    path = write_report(out, vocabulary, choices, findings, outcome, settings.limits)
    if not quiet:
        for name, choice in named.items():
            threshold = "-" if choice.threshold is None else f"{choice.threshold:.3f}"
            measured = choice.before is not None and choice.after is not None
            gain = f", IoU {choice.before:.3f} -> {choice.after:.3f} (leave-one-out)" if measured else ""
            typer.echo(f"{name}: {threshold}{gain} ({choice.reason})")
        typer.echo(f"{outcome} Report: {path}")
    raise typer.Exit(segmented.status)
