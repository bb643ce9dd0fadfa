"""Folder of results of `lexiseg segment`: resumes an interrupted run and never replaces a file.

A ledger in the folder (annotations.json for COCO, else .lexiseg.json) holds the question and the finished images. A run
with the same question segments the remaining images; another question gets the folder OUT-2, OUT-3 and so on.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lexiseg_client import Segmentation
from lexiseg_model.files import replace_file
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.outputs import numbered
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.segment.formats import FORMATS, QUESTION_KEY, Content, Format, Image
from lexiseg_service.settings import Limits

SAVE_SECONDS = 30.0  # between two writes of the ledger
NUMBERED = re.compile(r"-[0-9].*")  # the end of the stem of a second file, or of a cut-out


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
        self._relative_to = Path() if job.is_printed else self.folder
        self._content: Content = before or {QUESTION_KEY: question, "images": [], "annotations": []}
        self._images: list[Content] = self._content["images"]
        self._stamps = {image["file_name"]: image.get("modified") for image in self._images}
        if before:
            self._format.resume(self.folder, before)
        # An overlay must never replace the photograph that it was made from.
        photographs = {source.path.resolve() for source in job.sources if source.path is not None}
        existing = {path.resolve() for path in self.folder.rglob("*")}
        self._used_paths = photographs | existing
        self._stems = {NUMBERED.sub("", path.stem) for path in existing - photographs}

    def has(self, source: Source, *, even_changed: bool) -> bool:
        """Whether there are results of the image from before, or `even_changed` of any image of that name."""
        if even_changed:
            return source.name in self._stamps or source.stem in self._stems
        return source.name in self._stamps and self._stamps[source.name] == source.stamp

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """Write the files of one image now; images of the same name from different folders get numbered files."""
        for stem in numbered(source.stem):
            image = Image(len(self._images) + 1, answer, stem, source, content, self._relative_to)
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

    def write(self) -> str | None:
        """Write the ledger and the shared files; return a line that says where they are, None without results."""
        self._saved = time.monotonic()
        if not self._images:
            return None
        for name, content in self._format.beside(self._content).items():
            replace_file(self.folder / name, content)
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
        if not (folder / ledger).exists():
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
