"""What `lexiseg segment --format` leaves behind in formats with files of their own for each image.

As with COCO's one file nothing is replaced: a ledger (`.lexiseg.json`) holds what was asked and which images are done,
so that the same command goes on, and another one gets a folder of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.segment.annotations import Answer
from lexiseg_service.commands.segment.answers import as_clients
from lexiseg_service.commands.segment.earlier import ASKED, folder_for, write_json
from lexiseg_service.commands.segment.formats import WRITERS, Format, Job, beside
from lexiseg_service.commands.segment.question import Question
from lexiseg_service.commands.segment.sources import Source

LEDGER = ".lexiseg.json"
WHAT = {
    "yolo": "images/, labels/, train.txt, val.txt and data.yaml",
    "voc": "SegmentationClass/, SegmentationObject/, Annotations/ and labelmap.txt",
    "labelme": "one JSON each",
    "labelmap": "one label map each and labels.json",
    "cutout": "one picture for each segment",
}


class Exports:
    """A folder of one format, made when the first answer comes.

    Args:
        out: where to write; `folder` is the one that it came to be.
        kind: the format, but not coco.
        question: what each image is asked.
        classes: of the question.
        sources: that will be segmented; none of them is written over.
        model: who answers; answers of another are answers to another question.
        seen_from: the folder that ways to the images begin in; left out, `out`.
    """

    overlay = False

    def __init__(
        self,
        out: Path,
        kind: Format,
        question: Question,
        classes: tuple[ClassEntry, ...],
        sources: Sequence[Source],
        model: str,
        seen_from: Path | None = None,
    ) -> None:
        self._kind = kind
        self._seen_from = seen_from
        self._names = [entry.name for entry in classes]
        self._model = model
        self._asked = {**question.fields, "classes": self._names, "model": model, "format": kind}
        self.folder, before, self._claim = folder_for(out, self._asked, LEDGER)
        self._images: list[dict[str, Any]] = before["images"] if before else []
        self._taken = {source.path.resolve() for source in sources if source.path is not None}
        self._taken |= {path.resolve() for path in self.folder.rglob("*")}

    def has(self, source: Source) -> bool:
        """Whether an earlier run has done the image as it is now."""
        return any(
            image["file_name"] == source.name and image.get("modified") == source.stamp for image in self._images
        )

    def exists(self, source: Source) -> bool:
        """Whether an image of that name was exported here before, whatever it held and whatever was asked."""
        known = any(image["file_name"] == source.name for image in self._images)
        return known or any(self.folder.rglob(f"{source.stem}.*")) or any(self.folder.rglob(f"{source.stem}-[0-9]*.*"))

    def add(self, source: Source, content: bytes, answer: Answer) -> None:
        """One image's files, written at once."""
        first = not self._images
        files = self._files(source, content, answer)
        for name, written in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(written)
            self._taken.add(path.resolve())
        self._images.append({"file_name": source.name, "modified": source.stamp, "files": sorted(files)})
        if first:
            self.write()

    def write(self) -> str | None:
        """Writes the ledger and the names of the classes; says what lies where, or nothing of nothing."""
        if not self._images:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        written = [name for image in self._images for name in image["files"]]
        for name, content in beside(self._kind, self._names, written).items():
            (self.folder / name).write_bytes(content)
        write_json(self.folder / LEDGER, {ASKED: self._asked, "images": self._images, "annotations": []})
        return f"{WHAT[self._kind]} in {self.folder}/"

    def close(self) -> None:
        """Nothing more is written."""
        self._claim.release()

    def _files(self, source: Source, content: bytes, answer: Answer) -> dict[str, bytes]:
        """Two images of one name from two folders get files of two names."""
        segmentation = as_clients(answer, self._model)
        seen_from = self._seen_from or self.folder
        stem, number = source.stem, 2
        while True:
            files = WRITERS[self._kind](Job(segmentation, stem, source, content, seen_from, self._names))
            if not any((self.folder / name).resolve() in self._taken for name in files):
                return files
            stem, number = f"{source.stem}-{number}", number + 1
