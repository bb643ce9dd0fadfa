"""`lexiseg segment`: segment images with an engine in this process or a server, and write the results in order.

Files of each picture are written as it is answered, then what all pictures share. A ledger in the folder holds what is
finished: a run with the same question goes on with the remaining pictures; another one gets the folder OUT-2 and so on.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import typer

from lexiseg_client import LexisegError, Segmentation
from lexiseg_client.calling.mapping import map_async
from lexiseg_labels.data_set import File, Format, Picture, picture_of
from lexiseg_labels.exports import format_of
from lexiseg_labels.folder_sets import FolderSet
from lexiseg_labels.formats import coco_panoptic
from lexiseg_labels.masks import png
from lexiseg_labels.names import ROOM, numbered, safe_stem
from lexiseg_labels.picture_names import suffix_of, suffix_of_format
from lexiseg_labels.segments import UNNAMED, exportable
from lexiseg_model.command_line.bar import bar_of, echo
from lexiseg_model.command_line.options import STDOUT
from lexiseg_model.files.names import as_text
from lexiseg_model.pictures.header import sniff
from lexiseg_model.pictures.reader import read
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import STDIN, Source
from lexiseg_service.commands.local import open_server
from lexiseg_service.errors import (
    InvalidValue,
    NotAllowed,
    ServiceError,
    TooLarge,
    UnknownHead,
    UnknownModel,
    UnknownVocabulary,
)
from lexiseg_service.image.reader import decode
from lexiseg_service.in_process import resolved
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Settings

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
SAVE_SECONDS = 30.0  # between two writes of the shared files
MAX_LABEL_BYTES = 80  # of a label in a file name
CUT_OUT_ROOM = MAX_LABEL_BYTES + len("-12345-.png")  # bytes that follow the name of a picture
NUMBERED = re.compile(r"-[0-9].*")  # the end of the stem of a second file, or of a cut-out


def _cut_outs(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    assert picture.read is not None
    rgb = read(picture.read()).rgb
    for segment in exportable(picture.segments):
        x, y, width, height = segment.bbox
        box = np.s_[y : y + height, x : x + width]
        alpha = segment.shape.pixels()[box].astype(np.uint8)[..., None] * np.uint8(255)
        plain = "".join(letter if letter.isalnum() else "-" for letter in segment.label or UNNAMED)
        label = plain.encode()[:MAX_LABEL_BYTES].decode(errors="ignore")
        yield f"{picture.name}-{segment.id}-{label}.png", png.encode(np.concatenate([rgb[box], alpha], 2))


CUT_OUT = Format("cutout", "one picture for each segment", _cut_outs)


def format_named(name: str) -> Format:
    return CUT_OUT if name == CUT_OUT.name else format_of(name, CUT_OUT.name)


@dataclass(frozen=True)
class Job:
    """Pictures, the question about each of them, and folder and format of the results."""

    sources: Sequence[Source]  # none of their files is overwritten
    question: Question
    out: Path
    kind: str  # name of a format
    quiet: bool = False  # neither progress nor a summary; only failures and warnings
    skip_existing: bool = False  # leave out pictures with results, even if the picture has changed since
    examples: tuple[str, ...] = ()  # as typed, for the ledger; the question holds the pictures
    is_printed: bool = False  # the folder is temporary: no overlays, and paths start where the command runs

    @property
    def overlay(self) -> bool:
        return self.kind == "coco" and not self.is_printed


class Results:
    """Writes the results of a job; the attribute `folder` is the one in use, its `out` or `out-2` and so on."""

    def __init__(self, job: Job, classes: Sequence[ClassEntry], model: str) -> None:
        names = [entry.name for entry in classes]
        question = job.question.fields | {"classes": names, "model": model, "format": job.kind}
        if job.examples:
            question["examples"] = list(job.examples)
        question = json.loads(json.dumps(question))
        self._job = job
        self._formats = [format_named(job.kind)]
        if job.kind == "coco" and job.question.task == "panoptic":
            self._formats.append(coco_panoptic.FORMAT)
        things = [entry.thing is not False for entry in classes]
        self._set = FolderSet(job.out, self._formats, names, question, things)
        self.folder = self._set.folder
        self._set.resume()
        self._saved = 0.0
        photographs = {os.path.realpath(source.path) for source in job.sources if source.path is not None}
        existing = {os.path.realpath(path) for path in self.folder.rglob("*")}  # `resolve` raises at circles
        self._stems = {NUMBERED.sub("", Path(path).stem) for path in existing - photographs}

    def has(self, source: Source, *, even_changed: bool) -> bool:
        """Whether there are results of the picture from before, or `even_changed` of any picture of that name."""
        name = as_text(source.name)
        if even_changed:
            return name in self._set.stamps or self._stem(source) in self._stems
        return source.name != STDIN and self._set.stamps.get(name) == source.stamp  # else another picture each time

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """Write the files of one picture now, with a number where one is there: nothing is replaced, no photograph."""
        for stem in numbered(self._stem(source)):
            picture = self._picture(stem, source, content, answer)
            files: list[File] = [] if answer.overlay is None else [(f"{picture.name}.png", answer.overlay)]
            files += self._set.files_of(picture)
            if not any((self.folder / name).exists() for name, _ in files):
                break
        self._set.add(picture, source.stamp, files)
        if self._set.count == 1 or time.monotonic() - self._saved > SAVE_SECONDS:
            self.write()

    def _stem(self, source: Source) -> str:
        return safe_stem(source.stem, CUT_OUT_ROOM if self._formats == [CUT_OUT] else ROOM)

    def _picture(self, stem: str, source: Source, content: bytes, answer: Segmentation) -> Picture:
        job, kind = self._job, self._formats[0]
        link = None
        if source.path is not None:
            start = Path() if job.is_printed else self.folder
            link = Path(os.path.relpath(os.path.realpath(source.path), os.path.realpath(start))).as_posix()
        suffix = suffix_of(source.name, suffix_of_format(sniff(content)))
        # A list that is printed names pictures where they are.
        is_named = job.is_printed and kind.listing is not None

        def file() -> bytes:  # in a data set: as it came, or upright where it is inside of other files
            return png.encode(decode(content, source.limits, None).rgb) if kind.embeds else content

        return picture_of(
            answer,
            source.name if is_named else stem,
            as_text(source.name),
            suffix="" if is_named else suffix,
            read=None if is_named else file,
            link=link,
        )

    def write(self) -> str | None:
        """Write the shared files; return a line that says where they are, None without results."""
        self._saved = time.monotonic()
        if not self._set.count:
            return None
        self._set.write_shared()
        painted = ", and a painted picture each" if self._job.overlay else ""
        return f"{self._formats[0].files}{painted} in {self.folder}/"


@dataclass
class Outcome:
    """Number of images with results, failures and warnings; `stopped`: Ctrl-C ended the run."""

    n_segmented: int = 0
    failures: list[str] = field(default_factory=list)
    # Lines by what is warned of: each is printed once for all images, of guesses about images the first.
    warnings: dict[str, dict[str, None]] = field(default_factory=dict)
    stopped: bool = False

    @property
    def status(self) -> int:
        return INTERRUPTED_STATUS if self.stopped else int(bool(self.failures))

    def report(self) -> None:
        for first, *others in self.warnings.values():
            more = f"; the same holds for {len(others)} more" if others else ""
            echo(f"lexiseg: warning: {first}{more}", err=True)
        for line in self.failures:
            echo(f"lexiseg: {line}", err=True)
        if self.stopped:
            echo("lexiseg: stopped; the same command goes on with the rest", err=True)


ImageResult = tuple[Source, bytes, Segmentation] | tuple[Source, ServiceError]  # an image, or why it has no answer


def segment_files(sources: Sequence[Source], ask: Ask, keep: Keep, *, before: int = 0, quiet: bool = False) -> Outcome:
    """Segment every image; one that fails does not end the run, unless the next one would fail, too.

    `ask` is called in threads, `keep` in order; `before` images are of an earlier run, for the progress.
    """
    outcome = Outcome()

    def answer(source: Source) -> ImageResult:
        try:
            content = source.read()
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
    for warning in answer.warnings:
        kind, line = warning.detail, warning.detail
        if warning.field == "image":
            kind, line = warning.type, f"{source.name}: {warning.detail}"
        outcome.warnings.setdefault(kind, {})[line] = None
    return True


def segment_remaining(job: Job, ask: Ask, classes: Sequence[ClassEntry], model: str) -> int:
    """Segment the images without results; `model` names model and digest, or the server. Returns the exit status."""
    results = Results(job, classes, model)
    to_do = [source for source in job.sources if not results.has(source, even_changed=job.skip_existing)]
    n_before = len(job.sources) - len(to_do)
    try:
        outcome = segment_files(to_do, ask, results.add, before=n_before, quiet=job.quiet)
        where = results.write() or "nothing is written"
    except OSError as error:  # a full disk is reported without a file name
        error.filename = error.filename or str(results.folder)
        raise
    outcome.report()
    if not job.quiet:
        before = f", {n_before} of them before" if n_before else ""
        echo(f"images {n_before + outcome.n_segmented} of {len(job.sources)}{before}: {where}")
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
