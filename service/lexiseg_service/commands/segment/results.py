"""Folder of results that continues an interrupted run and never replaces a file.

A ledger in the folder (annotations.json for COCO, else .lexiseg.json) holds the question and the images that are done.
The same question continues with the images that are not done; another question gets the folder OUT-2, OUT-3 and so on.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexiseg_client import Segmentation
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source
from lexiseg_service.commands.question import Question
from lexiseg_service.commands.segment.formats import ASKED, FORMATS, Content, Format, Image

SAVE_SECONDS = 30.0  # between two times that the ledger is written
NUMBERED = re.compile(r"-[0-9].*")  # the end of the stem of a second file, or of a cut-out


class Results:
    """Writes the results of one question.

    Args:
        out: where to write; `folder` is the folder that was chosen.
        kind: the format.
        question: about each image.
        classes: of the question.
        sources: that will be segmented; none of them is overwritten.
        model: name and digest; the answers of another model are those of another question.
        with_overlays: whether COCO's annotations come with a picture for each image.
        relative_to: the folder from which paths to the images start; None is `folder`.

    Raises:
        OSError: there is a file of that name, or the folder cannot be made.
    """

    def __init__(
        self,
        out: Path,
        kind: Format,
        question: Question,
        classes: Sequence[ClassEntry],
        sources: Sequence[Source],
        model: str,
        *,
        with_overlays: bool = True,
        relative_to: Path | None = None,
    ) -> None:
        self.with_overlays = with_overlays and kind == "coco"
        asked = {**question.fields, "classes": [entry.name for entry in classes], "model": model}
        if kind != "coco":
            asked["format"] = kind
        elif question.examples:
            asked["examples"] = list(question.examples)
        self._format = FORMATS[kind](question, classes)
        self.folder, before = _folder_for(out, asked, self._format.ledger)
        self._saved = 0.0
        self._relative_to = relative_to or self.folder
        self._content: Content = before or {ASKED: asked, "images": [], "annotations": []}
        if before:
            self._format.resume(self.folder, before)
        # A picture never replaces a photograph that it was made from.
        photographs = {source.path.resolve() for source in sources if source.path is not None}
        there = {path.resolve() for path in self.folder.rglob("*")}
        self._taken = photographs | there
        self._stems = {NUMBERED.sub("", path.stem) for path in there - photographs}

    def has(self, source: Source) -> bool:
        """Whether an earlier run has results of the image, unchanged since."""
        return any(
            image["file_name"] == source.name and image.get("modified") == source.stamp for image in self._images
        )

    def exists(self, source: Source) -> bool:
        """Whether there are results of any image of that name, for any question."""
        known = any(image["file_name"] == source.name for image in self._images)
        return known or source.stem in self._stems

    def add(self, source: Source, content: bytes, answer: Segmentation) -> None:
        """Write one image's files at once; two images of one name from two folders get files of two names."""
        stem, number = source.stem, 2
        while True:
            image = Image(len(self._images) + 1, answer, stem, source, content, self._relative_to)
            files = self._format.files(image)
            if not any((self.folder / name).resolve() in self._taken for name in files):
                break
            stem, number = f"{source.stem}-{number}", number + 1
        for name, written in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(written)
            self._taken.add(path.resolve())
        entry = {"file_name": source.name, "modified": source.stamp}
        self._images.append(entry | self._format.entry(image, sorted(files)))
        self._content["annotations"] += self._format.annotations(image, len(self._content["annotations"]))
        # From the first image on, the folder belongs to this question.
        if len(self._images) == 1 or time.monotonic() - self._saved > SAVE_SECONDS:
            self.write()

    def write(self) -> str | None:
        """Write the ledger and the files beside it; one line that says where they are, None without results."""
        self._saved = time.monotonic()
        if not self._images:
            return None
        for name, content in self._format.beside(self._content).items():
            path = self.folder / name
            fresh = path.with_name(f".{path.name}.new")
            fresh.write_bytes(content)
            os.replace(fresh, path)  # whole, or as it was
        return self._format.summary(self.folder, with_overlays=self.with_overlays)

    @property
    def _images(self) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = self._content["images"]
        return images


def _folder_for(out: Path, asked: Content, ledger: str) -> tuple[Path, Content | None]:
    """The folder to write into, and what its ledger holds of the same question.

    `out`, unless it holds answers to another question: then `out-2` and so on. Processes that run at the same time need
    a folder each: they would write over each other's ledger.
    """
    folder, number = out, 2
    while True:
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        content = _read(folder / ledger)
        if content is not None and content[ASKED] == json.loads(json.dumps(asked)):
            return folder, content
        if not (folder / ledger).exists():
            return folder, None
        folder, number = out.with_name(f"{out.resolve().name}-{number}"), number + 1


def _read(path: Path) -> Content | None:
    """Read a ledger; None if the file is not one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not {ASKED, "images", "annotations"} <= content.keys():
        return None
    return content
