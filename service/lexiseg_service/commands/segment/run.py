"""`lexiseg segment`: segment images with an engine in this process or a server, and write the results in order."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from lexiseg_client import Segmentation
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.outputs import STDOUT
from lexiseg_model.types import ClassEntry
from lexiseg_service.batch.lane import work
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.local import open_server
from lexiseg_service.commands.segment.results import Job, Results, format_named
from lexiseg_service.errors import (
    InvalidValue,
    ModelChanged,
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


ImageResult = tuple[bytes, Segmentation] | ServiceError  # an image with its answer, or why there is none


class Images:
    """As `Part` of a batch: the files of one image, written as soon as it is answered."""

    is_due = True

    def __init__(self, keep: Keep, step: Callable[[], object]) -> None:
        self.outcome = Outcome()
        self._keep = keep
        self._step = step
        self._results: list[tuple[Source, ImageResult]] = []

    @property
    def is_empty(self) -> bool:
        """As `Part.is_empty`."""
        return not self._results

    def add(self, picture: Source, line: ImageResult) -> None:
        """As `Part.add`."""
        self._results.append((picture, line))

    async def commit(self) -> bool:
        """As `Part.commit`; an image that failed is reported, and asked again by the next run.

        False: the next image would fail, too.
        """
        for source, result in self._results:
            if isinstance(result, FATAL):
                self.outcome.failures.append(f"{result}; {source.name} and the images after it are not done")
                return False
            if isinstance(result, ServiceError):
                hint = "; by words `lexiseg segment-scene` takes any size" if isinstance(result, TooLarge) else ""
                self.outcome.failures.append(f"{source.name}: {result}{hint}")
            elif refusal := _name_refusal(self._keep, source, *result):
                self.outcome.failures.append(f"{source.name}: {refusal}")
            else:
                self.outcome.done += 1
                self.outcome.warnings.update(dict.fromkeys(warning.detail for warning in result[1].warnings))
            self._step()
        self._results.clear()
        return True


def segment_files(
    sources: Sequence[Source], ask: Ask, keep: Keep, limits: Limits, *, before: int = 0, quiet: bool = False
) -> Outcome:
    """Segment every image; one that fails does not end the run.

    Args:
        ask: segments the bytes of one image; called in threads.
        keep: called with each image, its content and its answer, in order.
        before: number of images that an earlier run finished, for the progress.
    """

    def answer(source: Source) -> ImageResult:
        try:
            content = source.read(limits)
            return content, ask(content)
        except ServiceError as error:
            return error

    async def answer_in_thread(source: Source) -> ImageResult:
        return await asyncio.get_running_loop().run_in_executor(threads, answer, source)

    total = before + len(sources)
    with (
        ThreadPoolExecutor(IMAGES_IN_FLIGHT) as threads,
        bar_of("segmenting", total, before, is_visible=not quiet, summary=False) as bar,
    ):
        images = Images(keep, bar.step)
        try:
            asyncio.run(work(sources, answer_in_thread, images, IMAGES_IN_FLIGHT))
        except KeyboardInterrupt:
            images.outcome.stopped = True
    return images.outcome


def _name_refusal(keep: Keep, source: Source, content: bytes, answer: Segmentation) -> str:
    """Keep an answer; returns why there cannot be files of its name, which does not end the run, else nothing."""
    try:
        keep(source, content, answer)
    except OSError as error:
        if error.errno not in NAME_ERRORS:
            raise
        return f"no file can be called so in the folder of results: {error.strerror}"
    return ""


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

    question = job.question
    resolve_prompts(question, question.task, settings.limits)
    of_server = question.vocabulary if server is not None else None
    own = () if of_server else _fitting(job, resolved(question, settings).classes)
    with open_server(server, settings, question.task) as connection:
        connection.check(question.task)
        classes, fields = connection.resolve_names(question, own)
        _fitting(job, classes)
        ask = _same_weights(partial(connection.segment, fields=fields | {"overlay": job.overlay}))
        return segment_remaining(job, ask, classes, connection.name)


def _same_weights(ask: Ask) -> Ask:
    """As `ask`, but for answers of other weights than the first one's. Raises ModelChanged, as an image's error."""
    first: dict[str, str | None] = {}

    def checked(image: bytes) -> Segmentation:
        answer = ask(image)
        if answer.model_digest != first.setdefault("digest", answer.model_digest):
            raise ModelChanged(f"model: {answer.model} has other weights now than for the first image; run it again")
        return answer

    return checked


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
