"""`lexiseg segment`: segment images with an engine in this process or a server, and write the results in order."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from lexiseg_client import LexisegError, Segmentation
from lexiseg_client.calling.mapping import map_async
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.options import STDOUT
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.local import open_server
from lexiseg_service.commands.segment.results import Job, Results, format_named
from lexiseg_service.errors import (
    InvalidValue,
    NotAllowed,
    ServiceError,
    TooLarge,
    UnknownHead,
    UnknownModel,
    UnknownVocabulary,
)
from lexiseg_service.in_process import resolved
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.settings import Limits, Settings

Ask = Callable[[bytes], Segmentation]  # of an encoded image; for many threads; raises ServiceError
Keep = Callable[[Source, bytes, Segmentation], None]
INTERRUPTED_STATUS = 130  # exit status after Ctrl-C: 128 + SIGINT
FATAL = (NotAllowed, UnknownHead, UnknownModel, UnknownVocabulary)  # the next image would fail, too
IMAGES_IN_FLIGHT = 8  # images in flight: enough to overlap reading, computing and writing
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # what file systems of other kinds say to a name
# The file that `--out -` prints, by format; of others their listing.
PRINTED = {
    "yolo": "labels/*.txt",
    "voc": "SegmentationClass/*.png",
    "coco-panoptic": "panoptic/*.png",
    "labelme": "[!.]*.json",
    "geojson": "*.geojson",
    "label-maps": "*.png",
    "cutout": "*.png",
}


@dataclass
class Outcome:
    """Number of images with results, failures and warnings; `stopped`: Ctrl-C ended the run."""

    n_segmented: int = 0
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


ImageResult = tuple[Source, bytes, Segmentation] | tuple[Source, ServiceError]  # an image, or why it has no answer


def segment_files(
    sources: Sequence[Source], ask: Ask, keep: Keep, limits: Limits, *, before: int = 0, quiet: bool = False
) -> Outcome:
    """Segment every image; one that fails does not end the run, unless the next one would fail, too.

    `ask` is called in threads, `keep` in order; `before` images are of an earlier run, for the progress.
    """
    outcome = Outcome()

    def answer(source: Source) -> ImageResult:
        try:
            content = source.read(limits)
            return source, content, ask(content)
        except ServiceError as error:
            return source, error

    async def answer_in_thread(source: Source) -> ImageResult:
        return await asyncio.get_running_loop().run_in_executor(threads, answer, source)

    async def keep_answers() -> None:  # Ctrl-C comes between two images, not within what writes one
        async with aclosing(map_async(answer_in_thread, sources, IMAGES_IN_FLIGHT)) as answers:
            async for result in answers:
                if not _settle(outcome, keep, result):
                    break
                bar.step()

    total = before + len(sources)
    with (
        ThreadPoolExecutor(IMAGES_IN_FLIGHT) as threads,
        bar_of("segmenting", total, before, is_visible=not quiet, summary=False) as bar,
    ):
        try:
            asyncio.run(keep_answers())
        except KeyboardInterrupt:
            outcome.stopped = True
    return outcome


def _settle(outcome: Outcome, keep: Keep, result: ImageResult) -> bool:
    """Keep an answer, or report why there is none; the next run asks again. False: the next image would fail, too."""
    source, answer = result[0], result[-1]
    if isinstance(answer, FATAL):
        outcome.failures.append(f"{answer}; {source.name} and the images after it are not done")
        return False
    if isinstance(answer, ServiceError):
        hint = "; by words `lexiseg segment-scene` takes any size" if isinstance(answer, TooLarge) else ""
        outcome.failures.append(f"{source.name}: {answer}{hint}")
        return True
    try:
        keep(*result)
    except OSError as error:
        if error.errno not in NAME_ERRORS:
            raise
        outcome.failures.append(f"{source.name}: no file can be called so in the folder of results: {error.strerror}")
        return True
    except LexisegError as error:
        outcome.failures.append(f"{source.name}: {error}")
        return True
    outcome.n_segmented += 1
    outcome.warnings.update(dict.fromkeys(warning.detail for warning in answer.warnings))
    return True


def segment_remaining(job: Job, ask: Ask, classes: Sequence[ClassEntry], model: str) -> int:
    """Segment the images without results; `model` names model and digest, or the server. Returns the exit status."""
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
        typer.echo(f"{n_before + outcome.n_segmented} of {len(job.sources)} images{before}: {where}")
    return outcome.status


def run(job: Job, settings: Settings, server: str | None) -> int:
    """Segment every image, in this process or by a server; with `--out -` print the result.

    Returns 1 if any image failed, 130 if Ctrl-C ended it.
    """
    if str(job.out) == STDOUT:
        return _print(job, settings, server)

    question = job.question
    resolve_prompts(question, question.task, settings.limits)
    of_server = question.vocabulary if server is not None else None
    own = () if of_server else _fitting(job, resolved(question, settings).classes)
    with open_server(server, settings, question.task) as connection:
        connection.check(question.task)
        classes, fields = connection.resolve_names(question, own)
        _fitting(job, classes)
        ask = partial(connection.segment, fields=fields | {"overlay": job.overlay})
        return segment_remaining(job, ask, classes, connection.name)


def _fitting(job: Job, classes: tuple[ClassEntry, ...]) -> tuple[ClassEntry, ...]:
    kind = format_named(job.kind)
    if not kind.has_room(len(classes)):
        raise InvalidValue.of(f"--format {job.kind}", f"{len(classes)} classes", f"at most {kind.max_classes} of them")
    return classes


def _print(job: Job, settings: Settings, server: str | None) -> int:
    printed = format_named(job.kind).listing or PRINTED.get(job.kind, "[!.]*")
    if format_named(job.kind).listing is None and len(job.sources) != 1:
        raise typer.BadParameter(f"{len(job.sources)} images; one can go to the standard output", param_hint="'--out'")
    with TemporaryDirectory() as folder:
        inside = replace(job, out=Path(folder) / "out", quiet=True, is_printed=True)
        status = run(inside, settings, server)
        files = sorted(inside.out.glob(printed))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise typer.BadParameter(f"several cut-outs ({names}); give a folder", param_hint="'--out'")
        for file in files:
            sys.stdout.buffer.write(file.read_bytes())
        sys.stdout.buffer.flush()
    return status
