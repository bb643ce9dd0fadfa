"""Results of `lexiseg segment` in a folder: files of each picture as it is answered, then what all pictures share.

A ledger in the folder holds what is finished: a run with the same question goes on with the remaining pictures; another
question gets the folder OUT-2, OUT-3 and so on.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lexiseg_client import Segmentation
from lexiseg_labels.data_set import DataSet, File, Format, Picture, model_version
from lexiseg_labels.exports import format_of, write_folder
from lexiseg_labels.formats import coco_panoptic
from lexiseg_labels.kept import Ledger, picture_of, question_in, row_of
from lexiseg_labels.masks import png
from lexiseg_labels.names import ROOM, numbered, safe_stem
from lexiseg_labels.picture_names import suffix_of, suffix_of_format
from lexiseg_model.files.names import as_text
from lexiseg_model.pictures.header import sniff
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import LEDGER_FILES, STDIN, Source
from lexiseg_service.commands.segment import cutout
from lexiseg_service.image.reader import decode
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Limits

SAVE_SECONDS = 30.0  # between two writes of the shared files
NUMBERED = re.compile(r"-[0-9].*")  # the end of the stem of a second file, or of a cut-out


def format_named(name: str) -> Format:
    """A format of labels, or cut-outs. Raises ValueError: there is no such format."""
    return cutout.FORMAT if name == cutout.FORMAT.name else format_of(name, cutout.FORMAT.name)


@dataclass(frozen=True)
class Job:
    """Pictures, the question about each of them, and folder and format of the results."""

    sources: Sequence[Source]  # none of their files is overwritten
    question: Question
    out: Path
    kind: str  # name of a format
    limits: Limits
    quiet: bool = False  # neither progress nor a summary; only failures and warnings
    skip_existing: bool = False  # leave out pictures with results, even if the picture has changed since
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
        question["format"] = job.kind
        if job.examples:
            question["examples"] = list(job.examples)
        self._question = json.loads(json.dumps(question))
        self._job = job
        self._formats = [format_named(job.kind)]
        if job.kind == "coco" and job.question.task == "panoptic":
            self._formats.append(coco_panoptic.FORMAT)
        self._classes = [entry.name for entry in classes]
        self._things = [entry.thing is not False for entry in classes]
        self.folder = _folder_for(job.out, self._question)
        self._ledger = Ledger(self.folder, self._question)
        self._saved = 0.0
        self._stamps: dict[str, Any] = {}
        self._count = 0
        for row in self._ledger.rows():
            self._stamps[row["file_name"]] = row["modified"]
            self._count += 1
        # An overlay must never replace the photograph that it was made from.
        photographs = {source.path.resolve() for source in job.sources if source.path is not None}
        existing = {path.resolve() for path in self.folder.rglob("*")}
        self._used_paths = photographs | existing
        self._stems = {NUMBERED.sub("", path.stem) for path in existing - photographs}

    def has(self, source: Source, *, even_changed: bool) -> bool:
        """Whether there are results of the picture from before, or `even_changed` of any picture of that name."""
        name = as_text(source.name)
        if even_changed:
            return name in self._stamps or self._stem(source) in self._stems
        is_other = source.name == STDIN  # another picture each time
        return not is_other and name in self._stamps and self._stamps[name] == source.stamp

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """Write the files of one picture now; pictures of the same name from different folders get numbered files."""
        for stem in numbered(self._stem(source)):
            picture = self._picture(stem, source, content, answer)
            files = dict(self._files(picture, answer))
            if not any((self.folder / name).resolve() in self._used_paths for name in files):
                break
        row = {"file_name": as_text(source.name), "modified": source.stamp, **row_of(picture)}
        write_folder(files.items(), self.folder)
        self._used_paths |= {(self.folder / name).resolve() for name in files}
        self._ledger.add(row)  # from the first one on, the folder belongs to this question
        self._count += 1
        if self._count == 1 or time.monotonic() - self._saved > SAVE_SECONDS:
            self.write()

    def _stem(self, source: Source) -> str:
        return safe_stem(source.stem, cutout.ROOM if self._formats == [cutout.FORMAT] else ROOM)

    def _picture(self, stem: str, source: Source, content: bytes, answer: Segmentation) -> Picture:
        job, kind = self._job, self._formats[0]
        link = None
        if source.path is not None:
            start = Path() if job.is_printed else self.folder
            link = Path(os.path.relpath(source.path.resolve(), start.resolve())).as_posix()
        suffix = suffix_of(source.name, suffix_of_format(sniff(content)))
        # A list that is printed names pictures where they are.
        is_named = job.is_printed and kind.listing is not None
        return Picture(
            name=source.name if is_named else stem,
            size=answer.size,
            segments=answer.segments,
            source=as_text(source.name),
            suffix="" if is_named else suffix,
            read=None if is_named else lambda: _file_in(kind, content, job.limits),
            link=link,
            model=model_version(answer.model, answer.model_digest),
        )

    def _files(self, picture: Picture, answer: Segmentation) -> Iterator[tuple[str, bytes]]:
        if answer.overlay is not None:
            yield f"{picture.name}.png", answer.overlay
        for kind in self._formats:
            for name, content in kind.files_of(picture, self._classes):
                yield name, content if isinstance(content, bytes) else b"".join(content)

    def write(self) -> str | None:
        """Write the shared files; return a line that says where they are, None without results."""
        self._saved = time.monotonic()
        if not self._count:
            return None
        write_folder(self._shared(), self.folder)
        painted = ", and a painted picture each" if self._job.overlay else ""
        return f"{self._formats[0].files}{painted} in {self.folder}/"

    def _shared(self) -> Iterator[File]:
        data = DataSet(self._classes, lambda: map(picture_of, self._ledger.rows()), self._things)
        for kind in self._formats:
            yield from kind.shared(data)


def _file_in(kind: Format, content: bytes, limits: Limits) -> bytes:
    """The file of a picture in a data set: as it came, or upright where it is inside of other files."""
    return png.encode(decode(content, limits, None).rgb) if kind.embeds else content


def _folder_for(out: Path, question: dict[str, Any]) -> Path:
    """The folder to write into: `out`, or `out-2` and so on if it holds answers to another question.

    Concurrent processes need a folder each: they would write into each other's ledger.
    """
    first = out.resolve().name
    for name in numbered(first):
        folder = out if name == first else out.with_name(name)
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        if question_in(folder) == question:
            return folder
        if not any((folder / name).exists() for name in LEDGER_FILES):
            return folder
    raise AssertionError("unreachable")
