"""`lexiseg segment`: segment images with an engine in this process or a server, and write the results in order.

A ledger in the folder (for COCO its annotations, else .lexiseg.json) holds the question and the finished images. A run
with the same question segments the remaining images; another question gets the folder OUT-2, OUT-3 and so on. Finished
images survive the end of a run: all of them after Ctrl-C, those up to the last `SAVE_SECONDS` after a kill.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from lexiseg_client import Segmentation
from lexiseg_labels.formats import coco
from lexiseg_model.command_line.bar import bar_of
from lexiseg_model.command_line.outputs import STDOUT, numbered
from lexiseg_model.files.atomic import replace_file
from lexiseg_model.files.names import as_text, fitting
from lexiseg_model.types import ClassEntry
from lexiseg_service.batch.lane import work
from lexiseg_service.commands.image_files import LEDGERS_BEFORE, STDIN, Source
from lexiseg_service.commands.segment.formats import FORMATS, Format
from lexiseg_service.commands.segment.voc import MAX_VALUE, has_unlabelled
from lexiseg_service.commands.segment.writer import QUESTION_KEY, Content, Image
from lexiseg_service.commands.serving.local import open_server
from lexiseg_service.errors import InvalidValue, ServiceError, TooLarge
from lexiseg_service.in_process import resolved
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Limits, Settings

Ask = Callable[[bytes], Segmentation]  # of an encoded image; for many threads; raises ServiceError
Keep = Callable[[Source, bytes, Segmentation], None]
INTERRUPTED_STATUS = 130  # exit status after Ctrl-C: 128 + SIGINT
IMAGES_IN_FLIGHT = 8  # images in flight: enough to overlap reading, computing and writing
SAVE_SECONDS = 30.0  # between two writes of the ledger
NUMBERED = re.compile(r"-[0-9].*")  # the end of the stem of a second file, or of a cut-out
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # what file systems of other kinds say to a name
# The file that `--out -` prints, by format.
PRINTED = {
    "coco": coco.ANNOTATIONS,
    "yolo": "labels/*.txt",
    "voc": "SegmentationClass/*.png",
    "labelme": "[!.]*.json",  # not the ledger
    "labelmap": "*.png",
    "cutout": "*.png",
}


@dataclass(frozen=True)
class Job:
    """Images, the question about each of them, and folder and format of the results."""

    sources: Sequence[Source]  # none of their files is overwritten
    question: Question
    out: Path
    kind: Format
    limits: Limits
    quiet: bool = False  # neither progress nor a summary; only failures and warnings
    skip_existing: bool = False  # leave out images with results, even if the image has changed since
    examples: tuple[str, ...] = ()  # as typed, for the ledger; the question holds the pictures
    is_printed: bool = False  # the folder is temporary: no overlays, and paths start where the command runs

    @property
    def overlay(self) -> bool:
        """Whether answers come with an overlay."""
        return self.kind == "coco" and not self.is_printed


class Results:
    """Writes the results of a job; the attribute `folder` is the one in use, its `out` or `out-2` and so on.

    Raises:
        OSError: `out` is a file, or the folder cannot be created.
    """

    def __init__(self, job: Job, classes: Sequence[ClassEntry], model: str) -> None:
        question = job.question.fields | {"classes": [entry.name for entry in classes], "model": model}
        if job.kind != "coco":
            question["format"] = job.kind
        elif job.examples:
            question["examples"] = list(job.examples)
        self._format = FORMATS[job.kind](job.question, classes)
        self.folder, before = _folder_for(job.out, question, self._format.ledger)
        self._saved = 0.0
        self._is_printed = job.is_printed
        self._relative_to = Path() if job.is_printed else self.folder
        self._limits = job.limits
        self._content: Content = before or {QUESTION_KEY: question, "images": [], "annotations": []}
        self._images: list[Content] = self._content["images"]
        names = [as_text(image.get("source", image["file_name"])) for image in self._images]
        self._stamps = {name: image.get("modified") for name, image in zip(names, self._images, strict=True)}
        if before:
            self._format.resume(self.folder, before)
        # An overlay must never replace the photograph that it was made from.
        photographs = {source.path.resolve() for source in job.sources if source.path is not None}
        existing = {path.resolve() for path in self.folder.rglob("*")}
        self._used_paths = photographs | existing
        self._stems = {NUMBERED.sub("", path.stem) for path in existing - photographs}

    def has(self, source: Source, *, even_changed: bool) -> bool:
        """Whether there are results of the image from before, or `even_changed` of any image of that name."""
        name = as_text(source.name)
        if even_changed:
            return name in self._stamps or self._stem(source.stem) in self._stems
        is_other = source.name == STDIN  # another image each time
        return not is_other and name in self._stamps and self._stamps[name] == source.stamp

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """Write the files of one image now; images of the same name from different folders get numbered files."""
        for stem in map(self._stem, numbered(source.stem)):
            number, is_printed = len(self._images) + 1, self._is_printed
            image = Image(number, answer, stem, source, content, self._relative_to, self._limits, is_printed)
            files = self._format.files(image)
            if not any((self.folder / name).resolve() in self._used_paths for name in files):
                break
        for name, written in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(written)
            self._used_paths.add(path.resolve())
        entry = {"file_name": source.name, "modified": source.stamp}
        self._images.append(entry | self._format.entry(image, sorted(files)))
        self._content["annotations"] += self._format.annotations(image, len(self._content["annotations"]))
        # From the first image on, the folder belongs to this question.
        if len(self._images) == 1 or time.monotonic() - self._saved > SAVE_SECONDS:
            self.write()

    def _stem(self, name: str) -> str:
        return fitting(self._format.stem(name), self._format.room)

    @property
    def warnings(self) -> list[str]:
        """What is to be said about the files."""
        unlisted = self._format.unlisted(self._content)
        n_names = f"{len(unlisted):,} name{'s are' if len(unlisted) > 1 else ' is'}"
        expected = "lists of this format leave the images out; rename them"
        return [f"{n_names} not UTF-8, such as {unlisted[0]}: {expected}"] if unlisted else []

    def write(self) -> str | None:
        """Write the ledger and the shared files; return a line that says where they are, None without results."""
        self._saved = time.monotonic()
        if not self._images:
            return None
        for name, content in self._format.beside(self._content).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)  # an image may have no files of its own
            replace_file(path, content)
        return self._format.summary(self.folder)


def _folder_for(out: Path, question_fields: Content, ledger: str) -> tuple[Path, Content | None]:
    """The folder to write into, and its ledger if an earlier run asked the same question.

    `out`, or `out-2` and so on if it holds answers to another question. Concurrent processes need a folder each: they
    would overwrite each other's ledger.
    """
    first = out.resolve().name
    for name in numbered(first):
        folder = out if name == first else out.with_name(name)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        content = _read(folder / ledger)
        if content is not None and content[QUESTION_KEY] == json.loads(json.dumps(question_fields)):
            return folder, content
        if not any((folder / name).exists() for name in (ledger, *LEDGERS_BEFORE)):
            return folder, None
    raise AssertionError("unreachable")


def _read(path: Path) -> Content | None:
    """Read a ledger; None if the file is not one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not {QUESTION_KEY, "images", "annotations"} <= content.keys():
        return None
    return content


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


Answered = tuple[bytes, Segmentation] | ServiceError  # an image with its answer, or why there is none


class Images:
    """As `Part` of a batch: the files of one image, written as soon as it is answered."""

    is_due = True

    def __init__(self, keep: Keep, step: Callable[[], object]) -> None:
        self.outcome = Outcome()
        self._keep = keep
        self._step = step
        self._answered: list[tuple[Source, Answered]] = []

    @property
    def is_empty(self) -> bool:
        """As `Part.is_empty`."""
        return not self._answered

    def add(self, picture: Source, line: Answered) -> None:
        """As `Part.add`."""
        self._answered.append((picture, line))

    async def commit(self) -> bool:
        """As `Part.commit`; an image that failed is reported, and asked again by the next run."""
        for source, answered in self._answered:
            if isinstance(answered, ServiceError):
                hint = "; by words `lexiseg segment-scene` takes any size" if isinstance(answered, TooLarge) else ""
                self.outcome.failures.append(f"{source.name}: {answered}{hint}")
            elif refusal := _kept(self._keep, source, *answered):
                self.outcome.failures.append(f"{source.name}: {refusal}")
            else:
                self.outcome.done += 1
                self.outcome.warnings.update(dict.fromkeys(warning.detail for warning in answered[1].warnings))
            self._step()
        self._answered.clear()
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

    def answer(source: Source) -> Answered:
        try:
            content = source.read(limits)
            return content, ask(content)
        except ServiceError as error:
            return error

    async def answer_in_thread(source: Source) -> Answered:
        return await asyncio.get_running_loop().run_in_executor(threads, answer, source)

    total = before + len(sources)
    with (
        ThreadPoolExecutor(IMAGES_IN_FLIGHT) as threads,
        bar_of("segmenting", total, before, shown=not quiet, summary=False) as bar,
    ):
        images = Images(keep, bar.step)
        try:
            asyncio.run(work(sources, answer_in_thread, images, IMAGES_IN_FLIGHT))
        except KeyboardInterrupt:
            images.outcome.stopped = True
    return images.outcome


def _kept(keep: Keep, source: Source, content: bytes, answer: Segmentation) -> str:
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
    outcome.warnings.update(dict.fromkeys(results.warnings))
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
    classes = () if of_server else _fitting(job, resolved(question, settings).classes)
    with open_server(server, settings, question.task) as asked:
        asked.check(question.task)
        if of_server is not None:
            classes = _fitting(job, asked.classes_of(of_server))
        fields = question.fields | {"overlay": job.overlay}
        return segment_remaining(job, lambda content: asked.segment(content, fields), classes, asked.name)


def _fitting(job: Job, classes: tuple[ClassEntry, ...]) -> tuple[ClassEntry, ...]:
    max_classes = MAX_VALUE - has_unlabelled(job.question)
    if job.kind == "voc" and len(classes) > max_classes:
        expected = f"at most {max_classes}, as 255 is void in its masks; --format labelmap and coco take more"
        raise InvalidValue.of("--format voc", f"{len(classes)} classes", expected)
    return classes


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
