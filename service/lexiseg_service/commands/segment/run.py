"""`lexiseg segment`: segment images with an engine in this process or a server, and write the results in order.

Finished images survive the end of a run: all of them after Ctrl-C, those up to the last `SAVE_SECONDS` after a kill.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from lexiseg_client import Segmentation
from lexiseg_client.calling.mapping import map_threads
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.answers import Ask, open_answers
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.outputs import STDOUT
from lexiseg_service.commands.segment.results import Job, Results
from lexiseg_service.errors import InvalidValue, ServiceError, TooLarge
from lexiseg_service.settings import Limits, Settings

Keep = Callable[[Source, bytes, Segmentation], None]
INTERRUPTED_STATUS = 130  # exit status after Ctrl-C: 128 + SIGINT
IMAGES_IN_FLIGHT = 8  # images in flight: enough to overlap reading, computing and writing
MAX_VOC_CLASSES = 255  # a palette has 256 colours, one is the background's
# The file that `--out -` prints, by format.
PRINTED = {
    "coco": "annotations.json",
    "yolo": "labels/*.txt",
    "voc": "SegmentationClass/*.png",
    "labelme": "[!.]*.json",  # not the ledger
    "labelmap": "*.png",
    "cutout": "*.png",
}


@dataclass
class Outcome:
    """Number of images done, failures and warnings; `stopped`: Ctrl-C ended the run."""

    done: int = 0
    failures: list[str] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)  # keys only, in order: each is printed once for all images
    stopped: bool = False

    @property
    def status(self) -> int:
        """1 if any image failed, 130 if Ctrl-C ended the run."""
        return INTERRUPTED_STATUS if self.stopped else int(bool(self.failures))

    def report(self) -> None:
        """Print warnings and failures."""
        for line in (*(f"warning: {warning}" for warning in self.warnings), *self.failures):
            typer.echo(f"lexiseg: {line}", err=True)
        if self.stopped:
            typer.echo("lexiseg: stopped; the same command goes on with the rest", err=True)


def segment_files(
    sources: Sequence[Source], ask: Ask, keep: Keep, limits: Limits, *, before: int = 0, quiet: bool = False
) -> Outcome:
    """Segment every image; one that fails does not end the run.

    Args:
        sources: the images.
        ask: segments the bytes of one image; called in threads.
        keep: called with each image, its content and its answer, in order.
        limits: limits of an image file.
        before: number of images that an earlier run finished, for the progress.
        quiet: show no progress.
    """
    outcome = Outcome()

    def answer(source: Source) -> tuple[Source, bytes, Segmentation | ServiceError]:
        try:
            content = source.read(limits)
            return source, content, ask(content)
        except ServiceError as error:
            return source, b"", error

    total = before + len(sources)
    answers = map_threads(answer, sources, IMAGES_IN_FLIGHT)
    with closing(answers), bar_of("segmenting", total, before, shown=not quiet, summary=False) as bar:
        try:
            for source, content, result in answers:
                if isinstance(result, ServiceError):
                    hint = "; by words --window 1024 takes any size" if isinstance(result, TooLarge) else ""
                    outcome.failures.append(f"{source.name}: {result}{hint}")
                else:
                    keep(source, content, result)
                    outcome.done += 1
                    outcome.warnings.update(dict.fromkeys(warning.detail for warning in result.warnings))
                bar.step()
        except KeyboardInterrupt:
            outcome.stopped = True
    return outcome


def work(job: Job, ask: Ask, classes: Sequence[ClassEntry], model: str) -> int:
    """Segment the remaining images; `model` is name and digest of the model, or the server. Returns the status."""
    results = Results(job, classes, model)
    to_do = [source for source in job.sources if not results.has(source, even_changed=job.skip_existing)]
    n_before = len(job.sources) - len(to_do)
    try:
        outcome = segment_files(to_do, ask, results.add, job.limits, before=n_before, quiet=job.quiet)
        where = results.write() or "nothing is written"
    except OSError as error:  # a full disk is reported without a file name
        error.filename = error.filename or str(results.folder)
        raise
    outcome.report()
    if not job.quiet:
        before = f", {n_before} of them before" if n_before else ""
        typer.echo(f"{n_before + outcome.done} of {len(job.sources)} images{before}: {where}")
    return outcome.status


def run(job: Job, settings: Settings, server: str | None) -> int:
    """Segment every image, in this process or by a server; with `--out -` print the result.

    Returns 1 if any image failed, 130 if Ctrl-C ended it.

    Raises:
        ServiceError: the classes, the prompts or a value are not as expected, or the server cannot be asked.
        ModelError: the model cannot be loaded.
        typer.BadParameter: more than one result would be printed.
    """
    if str(job.out) == STDOUT:
        return _print(job, settings, server)

    def check(n_classes: int) -> None:
        if job.kind == "voc" and n_classes > MAX_VOC_CLASSES:
            raise InvalidValue.of("--format voc", f"{n_classes} classes", f"at most {MAX_VOC_CLASSES}")

    with open_answers(job.question, settings, server, overlay=job.overlay, check=check) as answers:
        return work(job, *answers)


def _print(job: Job, settings: Settings, server: str | None) -> int:
    if job.kind != "coco" and len(job.sources) != 1:
        raise typer.BadParameter(f"{len(job.sources)} images; one can go to the standard output", param_hint="'--out'")
    with TemporaryDirectory() as folder:
        inside = replace(job, out=Path(folder) / "out", quiet=True, is_printed=True)
        status = run(inside, settings, server)
        files = sorted(inside.out.glob(PRINTED[job.kind]))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise typer.BadParameter(f"several cut-outs ({names}); give a folder", param_hint="'--out'")
        for file in files:
            sys.stdout.buffer.write(file.read_bytes())
        sys.stdout.buffer.flush()
    return status
