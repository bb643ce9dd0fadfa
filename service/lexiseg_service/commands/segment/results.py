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

import numpy as np

from lexiseg_client import Segmentation
from lexiseg_labels.data_set import File, Format, Picture, picture_of
from lexiseg_labels.exports import format_of
from lexiseg_labels.folder_sets import FolderSet, question_in
from lexiseg_labels.formats import coco_panoptic
from lexiseg_labels.masks import png
from lexiseg_labels.names import ROOM, numbered, safe_stem
from lexiseg_labels.picture_names import suffix_of, suffix_of_format
from lexiseg_labels.segments import UNNAMED, exportable
from lexiseg_model.files.names import as_text
from lexiseg_model.pictures.header import sniff
from lexiseg_model.pictures.reader import read
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import LEDGER_FILES, STDIN, Source
from lexiseg_service.image.reader import decode
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Limits

SAVE_SECONDS = 30.0  # between two writes of the shared files
MAX_LABEL = 40  # characters of a label in a file name
MAX_LABEL_BYTES = 80
CUT_OUT_ROOM = MAX_LABEL_BYTES + len("-12345-.png")  # bytes that follow the name of a picture
NUMBERED = re.compile(r"-[0-9].*")  # the end of the stem of a second file, or of a cut-out


def _cut_outs(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    assert picture.read is not None
    rgb = read(picture.read()).rgb
    for segment in exportable(picture.segments):
        x, y, width, height = segment.bbox
        box = np.s_[y : y + height, x : x + width]
        alpha = segment.shape.pixels()[box].astype(np.uint8)[..., None] * np.uint8(255)
        plain = "".join(letter if letter.isalnum() else "-" for letter in (segment.label or UNNAMED))[:MAX_LABEL]
        label = plain.encode()[:MAX_LABEL_BYTES].decode(errors="ignore")
        yield f"{picture.name}-{segment.id}-{label}.png", png.encode(np.concatenate([rgb[box], alpha], 2))


CUT_OUT = Format("cutout", "one picture for each segment", _cut_outs)


def format_named(name: str) -> Format:
    """A format of labels, or cut-outs. Raises ValueError: there is no such format."""
    return CUT_OUT if name == CUT_OUT.name else format_of(name, CUT_OUT.name)


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
    """Writes the results of a job; the attribute `folder` is the one in use, its `out` or `out-2` and so on."""

    def __init__(self, job: Job, classes: Sequence[ClassEntry], model: str) -> None:
        question = job.question.fields | {"classes": [entry.name for entry in classes], "model": model}
        question["format"] = job.kind
        if job.examples:
            question["examples"] = list(job.examples)
        question = json.loads(json.dumps(question))
        self._job = job
        self._formats = [format_named(job.kind)]
        if job.kind == "coco" and job.question.task == "panoptic":
            self._formats.append(coco_panoptic.FORMAT)
        self.folder = _folder_for(job.out, question)
        things = [entry.thing is not False for entry in classes]
        self._set = FolderSet(self.folder, self._formats, [entry.name for entry in classes], question, things)
        self._set.resume()
        self._saved = 0.0
        # An overlay must never replace the photograph that it was made from.
        photographs = {source.path.resolve() for source in job.sources if source.path is not None}
        existing = {path.resolve() for path in self.folder.rglob("*")}
        self._used_paths = photographs | existing
        self._stems = {NUMBERED.sub("", path.stem) for path in existing - photographs}

    def has(self, source: Source, *, even_changed: bool) -> bool:
        """Whether there are results of the picture from before, or `even_changed` of any picture of that name."""
        name = as_text(source.name)
        if even_changed:
            return name in self._set.stamps or self._stem(source) in self._stems
        is_other = source.name == STDIN  # another picture each time
        return not is_other and self._set.stamps.get(name) == source.stamp

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """Write the files of one picture now; pictures of the same name from different folders get numbered files."""
        for stem in numbered(self._stem(source)):
            picture = self._picture(stem, source, content, answer)
            files: list[File] = [] if answer.overlay is None else [(f"{picture.name}.png", answer.overlay)]
            files += self._set.files_of(picture)
            paths = {(self.folder / name).resolve() for name, _ in files}
            if paths.isdisjoint(self._used_paths):
                break
        self._set.add(picture, source.stamp, files)
        self._used_paths |= paths
        if self._set.count == 1 or time.monotonic() - self._saved > SAVE_SECONDS:
            self.write()

    def _stem(self, source: Source) -> str:
        return safe_stem(source.stem, CUT_OUT_ROOM if self._formats == [CUT_OUT] else ROOM)

    def _picture(self, stem: str, source: Source, content: bytes, answer: Segmentation) -> Picture:
        job, kind = self._job, self._formats[0]
        link = None
        if source.path is not None:
            start = Path() if job.is_printed else self.folder
            link = Path(os.path.relpath(source.path.resolve(), start.resolve())).as_posix()
        suffix = suffix_of(source.name, suffix_of_format(sniff(content)))
        # A list that is printed names pictures where they are.
        is_named = job.is_printed and kind.listing is not None
        return picture_of(
            answer,
            source.name if is_named else stem,
            as_text(source.name),
            suffix="" if is_named else suffix,
            read=None if is_named else lambda: _file_in(kind, content, job.limits),
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
