"""Heads: classes learned from reviewed pictures, by a closed form in addition to the text bank.

    LabelledPicture -> Teachable.lesson -> Lesson   what one picture teaches: cells, labels, scores by words
    lessons         -> solve            -> Head     a direction a class, with a report
    Head            -> Learned          -> ClassEntry.learned, so that a head travels in a question

A lesson holds all that solving needs of its picture, so that a picture is corrected or taken out exactly: solve the
others again. Does not import torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ForeignLessonError, TeachingError
from lexiseg_model.types import Learned
from lexiseg_model.vocabulary.packed import Layout, pack, unpack

MAX_CLASSES = 128  # of a head
MAX_PICTURES = 500  # of a head
MAX_CELLS = 512  # of a lesson
MAX_TEXT = 10.0  # logits by words count up to here
MAX_WEIGHT = 2.0**20  # of a direction, far above what is learned: its products stay finite
PIXELS = 16  # of a cell that are counted
UNKNOWN = -1  # a label in LabelledPicture: not looked at

# Behind the digest of what is kept: by which rules a lesson's numbers were made. 0.3.0 wrote nothing there.
RULES = "+2"
OTHER_RULES = " by another release"  # behind the digest of what other rules made: no weights served have it

LESSON = {"cells": Layout("f2", 2), "labels": Layout("i2", 1), "shares": Layout("f4", 1), "text": Layout("f2", 2)}
OPTIONAL = {"detail": Layout("f2", 2), "pixels": Layout("u1", 2)}
HEAD = {"directions": Layout("f4", 2), "text": Layout("f4", 1)}


@dataclass(frozen=True)
class LabelledPicture:
    """One reviewed picture: `labels` int [H, W], its size, and the names it was reviewed for, at least one.

    A label is an index into `classes`; `len(classes)`: looked at, and none of them; UNKNOWN: nobody has looked. Other
    classes learn nothing from it, not even what they are not.
    """

    labels: NDArray[np.integer[Any]]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises TeachingError: the labels name no class, or nothing is labelled."""
        require_classes(self.classes)
        if self.labels.ndim != 2 or self.labels.max(initial=UNKNOWN) > len(self.classes):
            raise TeachingError(
                f"expected labels [H, W] of at most {len(self.classes)}, got {list(self.labels.shape)} of "
                f"{self.labels.max(initial=UNKNOWN)}"
            )
        if not (self.labels > UNKNOWN).any():
            raise TeachingError("nothing in the picture is labelled; expected pixels that are not unknown")


@dataclass(frozen=True)
class Lesson:
    """What one picture teaches.

    Attributes:
        digest: of the model that encoded the picture; of another release's lesson one that no weights have.
        classes: as of its LabelledPicture.
        cells: float16 [n, F], the teaching features of sampled cells; n is at most MAX_CELLS.
        labels: int16 [n], as of LabelledPicture, none UNKNOWN.
        shares: float32 [n], the share of the picture's labelled cells that each one stands for; their sum is 1.
        text: float16 [n, K], logits of the classes by their words, relative to that of the background and its words.
        detail: float16 [n, G], more features of the cells, which a head in detail is solved from; None: there are none.
        pixels: uint8 [n, K + 1], how many of 16 pixels across a cell have each label; None: all have that of the cell.
    """

    digest: str
    classes: tuple[str, ...]
    cells: NDArray[np.float16]
    labels: NDArray[np.int16]
    shares: NDArray[np.float32]
    text: NDArray[np.float16]
    detail: NDArray[np.float16] | None = None
    pixels: NDArray[np.uint8] | None = None

    def to_bytes(self) -> bytes:
        """The lesson, to be kept; about 0.6 MB."""
        own = {name: getattr(self, name) for name in (*LESSON, *OPTIONAL)}
        arrays = {name: array for name, array in own.items() if array is not None}
        return pack("lesson", {"digest": kept_digest(self.digest), "classes": self.classes}, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Lesson:
        """Read `to_bytes`. Raises TeachingError: it is no lesson, damaged, or no picture teaches so."""
        about, arrays = unpack("lesson", content, LESSON, OPTIONAL)
        try:
            digest, classes = _read_digest(about["digest"]), _texts(about["classes"])
        except (KeyError, TypeError, ValueError) as error:
            raise TeachingError(f"expected a lesson, got one without its parts ({error})") from None
        require_classes(classes)
        lesson = cls(digest, classes, **arrays)
        n, k = len(lesson.labels), len(classes)
        shapes = {name: part.shape for name, part in arrays.items()}
        of_cells = {"labels": (n,), "shares": (n,), "text": (n, k), "pixels": (n, k + 1)}
        if shapes != {name: of_cells.get(name, (n, shape[-1])) for name, shape in shapes.items()} or n > MAX_CELLS:
            raise TeachingError(f"expected a lesson of up to {MAX_CELLS} cells, got arrays of {[*shapes.values()]}")
        if lesson.labels.min() < 0 or lesson.labels.max() > k:
            raise TeachingError(f"expected labels of 0 to {k}, got {lesson.labels.min()} to {lesson.labels.max()}")
        if lesson.shares.min() <= 0 or abs(lesson.shares.sum() - 1) > 0.01:
            raise TeachingError(f"expected shares above 0 whose sum is 1, got a sum of {lesson.shares.sum():.3g}")
        return lesson

    @property
    def votes(self) -> NDArray[np.uint8]:
        """The `pixels`, also of a lesson without."""
        if self.pixels is not None:
            return self.pixels
        return np.array(self.labels[:, None] == np.arange(len(self.classes) + 1), np.uint8) * np.uint8(PIXELS)

    def in_detail(self) -> Lesson:
        """The lesson with its detail [n, G] before the features of its cells, which end with 1."""
        assert self.detail is not None
        return replace(self, cells=np.concatenate([self.detail, self.cells], 1), detail=None)


@dataclass(frozen=True)
class TaughtClass:
    """A class of a head: reviewed `pictures` show it (0: it has only the score of its words), and it `wants` more.

    IoUs are of pixels in percent, by words and, on pictures that it had not seen, by the head; None where too few
    show it. `iou_range` takes the place of `iou_taught` of few pictures: as of the others of them, and of all.
    """

    name: str
    pictures: int
    iou_words: float | None = None
    iou_taught: float | None = None
    wants: int = 0
    iou_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Head:
    """Classes, in the order of the vocabulary, learned from `pictures` for one version of a model, by its digest.

    `directions` float32 [K, F]; `text` float32 [K] is the factor of each class's text score. `is_fine`: F counts the
    detail of cells, too, for which a picture takes more passes.
    """

    digest: str
    classes: tuple[TaughtClass, ...]
    directions: NDArray[np.float32]
    text: NDArray[np.float32]
    pictures: int = 0
    is_fine: bool = False
    version: str = field(init=False)  # of its content: equal heads have equal versions

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", hashlib.sha256(self.to_bytes()).hexdigest()[:12])

    def learned(self) -> tuple[Learned, ...]:
        """What each class carries in a vocabulary; no direction where it has only the score of its words."""
        return tuple(
            Learned(direction.tobytes() if text < 1 else b"", float(text), self.digest)
            for direction, text in zip(self.directions, self.text, strict=True)
        )

    def report(self) -> list[dict[str, Any]]:
        """What is known of each class, and `kept`: "words" where these are better than what its pictures teach."""
        return [
            {**vars(entry), "kept": "words" if entry.pictures and text >= 1 else None}
            for entry, text in zip(self.classes, self.text, strict=True)
        ]

    def to_bytes(self) -> bytes:
        """The head, to be kept or given away; a kilobyte a class."""
        about = {
            "digest": kept_digest(self.digest),
            "pictures": self.pictures,
            "classes": [vars(entry) for entry in self.classes],
            **({"is_fine": True} if self.is_fine else {}),
        }
        return pack("head", about, {"directions": self.directions, "text": self.text})

    @classmethod
    def from_bytes(cls, content: bytes) -> Head:
        """Read `to_bytes`. Raises TeachingError: it is no head, damaged, or no lessons are solved so."""
        about, arrays = unpack("head", content, HEAD)
        try:
            classes, pictures = tuple(map(_taught_class, about["classes"])), _count(about["pictures"])
            digest, is_fine = _read_digest(about["digest"]), about.get("is_fine", False) is True
        except (KeyError, TypeError, ValueError) as error:
            raise TeachingError(f"expected a head, got one without its parts ({error})") from None
        require_classes([entry.name for entry in classes])
        directions, text = arrays["directions"], arrays["text"]
        if {len(directions), len(text)} != {len(classes)}:
            raise TeachingError(f"expected directions of {len(classes)} classes, got {len(directions)}")
        if np.abs(directions).max() > MAX_WEIGHT or text.min() < 0 or text.max() > 1:
            raise TeachingError(f"expected directions up to {MAX_WEIGHT:.0f} and factors of text in 0..1, got others")
        return cls(digest, classes, directions, text, pictures, is_fine)


def kept_digest(digest: str) -> str:
    """The digest of weights as a lesson or a head of this release is kept; what another release kept stays the same."""
    return digest.removesuffix(OTHER_RULES) if digest.endswith(OTHER_RULES) else digest + RULES


def _read_digest(stored: Any) -> str:
    """Undo `kept_digest`. Raises TypeError or ValueError: it is no text."""
    (digest,) = _texts([stored])
    return digest.removesuffix(RULES) if digest.endswith(RULES) else digest + OTHER_RULES


def _texts(values: Any) -> tuple[str, ...]:
    """A list of texts that UTF-8 can hold. Raises TypeError or ValueError: it is another thing."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("expected a list of texts")
    "".join(values).encode()
    return tuple(values)


def _count(value: Any) -> int:
    """Raises ValueError: it is no whole number from 0 on."""
    if type(value) is not int or value < 0:
        raise ValueError("expected a whole number from 0 on")
    return value


def _taught_class(about: Any) -> TaughtClass:
    """Raises TypeError or ValueError: it is none."""
    entry = TaughtClass(**{**about, "iou_range": tuple(about.get("iou_range") or ()) or None})
    _texts([entry.name])
    _count(entry.pictures)
    _count(entry.wants)
    if len(entry.iou_range or (0, 0)) != 2:
        raise ValueError("expected a range of two")
    for iou in (entry.iou_words, entry.iou_taught, *(entry.iou_range or ())):
        if iou is not None and not 0 <= iou <= 100:  # so is a NaN
            raise ValueError("expected an IoU of 0 to 100")
    return entry


def require_classes(names: Sequence[str]) -> None:
    """Check the names of a head's classes. Raises TeachingError: none, too many, or twice the same."""
    if not 1 <= len(names) <= MAX_CLASSES:
        raise TeachingError(f"expected 1 to {MAX_CLASSES} classes, got {len(names)}")
    if len(set(names)) < len(names):
        raise TeachingError("expected classes of different names, got one twice")


def require_lessons(lessons: Sequence[Lesson]) -> None:
    """Check the lessons of a head. Raises TeachingError: none, too many, or of different models."""
    if not 1 <= len(lessons) <= MAX_PICTURES:
        raise TeachingError(f"expected 1 to {MAX_PICTURES} reviewed pictures, got {len(lessons)}")
    widths = {None if lesson.detail is None else lesson.detail.shape[1] for lesson in lessons} - {None}
    for lesson in lessons:
        is_other = (lesson.digest, lesson.cells.shape[1]) != (lessons[0].digest, lessons[0].cells.shape[1])
        if is_other or len(widths) > 1:
            raise ForeignLessonError(
                f"expected pictures of one model, got some of {lessons[0].digest} and some of {lesson.digest}: "
                "send the pictures again"
            )
