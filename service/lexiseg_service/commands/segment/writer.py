"""What the formats of `lexiseg segment --format` share: an answered image, and the base of their writers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_client import Segmentation
from lexiseg_labels.segments import UNNAMED
from lexiseg_model.files.names import as_text
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source
from lexiseg_service.question.schemas import TaskQuestion as Question
from lexiseg_service.settings import Limits

Content = dict[str, Any]  # JSON of a ledger, the file that lists the finished images
Files = dict[str, bytes]  # content by path in the folder of results
QUESTION_KEY = "asked"  # key in a ledger of the question that all its images were segmented with
LEDGER = ".lexiseg.json"


class Image(NamedTuple):
    """A segmented image, with the stem of its result files."""

    number: int
    answer: Segmentation
    stem: str
    source: Source
    content: bytes  # the encoded image
    relative_to: Path  # folder that paths to the image are relative to
    limits: Limits  # within which it was read
    is_printed: bool = False  # no other file is kept beside the one that is printed


class Writer:
    """Base of the formats: files for each image, the ledger, and other files shared by all images."""

    ledger = LEDGER
    what = ""
    room = len(".png")  # bytes that follow the stem in the longest name of an image's files
    has_lists = False  # a shared file names the images' files, in UTF-8 as its readers expect; others are left out

    def __init__(self, question: Question, classes: Sequence[ClassEntry]) -> None:
        self.names = [entry.name for entry in classes]

    def resume(self, folder: Path, content: Content) -> None:
        """Read the shared files of an earlier run; `content` is its ledger."""

    def stem(self, name: str) -> str:
        """The stem of an image's files, from the image's own."""
        return name

    def files(self, image: Image) -> Files:
        """The files of one image."""
        raise NotImplementedError

    def shared(self, written: Sequence[str]) -> Files:
        """The files shared by all images; `written` lists the per-image files."""
        return {}

    def entry(self, image: Image, files: Sequence[str]) -> Content:
        """The ledger's entry for an image."""
        return {"files": list(files)}

    def annotations(self, image: Image, before: int) -> list[Content]:
        """The image's annotations for the ledger, numbered from `before` + 1; empty in formats with other files."""
        return []

    def beside(self, content: Content) -> Files:
        """The shared files, then the ledger: an image in the ledger is in all of them, even if a write fails."""
        written = [name for image in content["images"] for name in image["files"]]
        return {**self.shared(written), self.ledger: json.dumps(content).encode()}

    def unlisted(self, content: Content) -> list[str]:
        """The images that the shared lists leave out."""
        return [image["file_name"] for image in content["images"] if self.has_lists and not all_utf8(image["files"])]

    def summary(self, folder: Path) -> str:
        """One line that says where the files are."""
        return f"{self.what} in {folder}/"


def all_utf8(names: Iterable[str]) -> bool:
    """Whether lists can hold these names."""
    return all(as_text(name) == name for name in names)


def class_values(answer: Segmentation, n_classes: int) -> NDArray[np.unsignedinteger]:
    """[H, W] of 1 + class index, 0 without a class; without classes, 1 for every segment.

    8 bits up to 254 classes, else 16: in an 8-bit mask 255 means that a pixel does not count.
    """
    values = answer.class_map + 1 if n_classes else answer.label_map > 0
    return values.astype(np.uint8 if n_classes < 255 else np.uint16)


def names_of_values(names: Sequence[str]) -> list[str]:
    """The names of the values of `class_values`."""
    return ["background", *(names or [UNNAMED])]
