"""Heads: classes learned from reviewed pictures, by a closed form in addition to the text bank.

    LabelledPicture -> Teachable.lesson -> Lesson   what one picture teaches: cells, labels, scores by words
    lessons         -> solve            -> Head     a direction a class, with a report
    Head            -> Learned          -> ClassEntry.learned, so that a head travels in a question

A lesson holds all that solving needs of its picture, so that a picture is corrected or taken out exactly: solve the
others again. Both are kept as MAGIC, the SHA-256 of the rest, the length of a JSON header, the header, and the arrays.
Does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictBool, StrictInt, ValidationError

from lexiseg_model.errors import ForeignLessonError, TeachingError
from lexiseg_model.types import Learned

MAX_CLASSES = 128  # of a head
MAX_PICTURES = 500  # of a head
MAX_CELLS = 512  # of a lesson
MAX_TEXT = 10.0  # logits by words count up to here
MAX_WEIGHT = 2.0**20  # of a direction, far above what is learned: its products stay finite
PIXELS = 16  # of a cell that are counted
MAX_BYTES = 2**20  # of a lesson or a head
MAGIC = b"lexiseg1"  # the last byte is the version of the layout
START = len(MAGIC) + hashlib.sha256().digest_size
UNKNOWN = -1  # a label in LabelledPicture: not looked at

# A bound makes pydantic look at the characters: a lone surrogate is no text.
Text = Annotated[str, Field(strict=True, max_length=MAX_BYTES)]
Count = Annotated[StrictInt, Field(ge=0)]
Iou = Annotated[float, Field(ge=0, le=100)]  # percent
About = TypeVar("About", bound=BaseModel)

# Behind the digest of what is kept: by which rules a lesson's numbers were made. 0.3.0 wrote nothing there.
RULES = "+2"
OTHER_RULES = " by another release"  # behind the digest of what other rules made: no weights served have it


class Layout(NamedTuple):
    """What an array must be: numpy's short name of its numbers, little-endian, and the number of its axes."""

    numbers: str
    axes: int


LESSON = {"cells": Layout("f2", 2), "labels": Layout("i2", 1), "shares": Layout("f4", 1), "text": Layout("f2", 2)}
OPTIONAL = {"detail": Layout("f2", 2), "pixels": Layout("u1", 2)}
HEAD = {"directions": Layout("f4", 2), "text": Layout("f4", 1)}
OPTIONAL_OF_HEAD = {"places": Layout("f4", 2)}


@dataclass(frozen=True)
class LabelledPicture:
    """One reviewed picture: `labels` int [H, W], its size, and the names it was reviewed for, at least one.

    A label is an index into `classes`; `len(classes)`: looked at, and none of them; UNKNOWN: nobody has looked. Other
    classes learn nothing from it, not even what they are not.
    """

    labels: NDArray[np.integer[Any]]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
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
    """What one picture teaches, by n sampled cells, at most MAX_CELLS."""

    digest: str  # of the model that encoded the picture; of another release's lesson one that no weights have
    classes: tuple[str, ...]  # K, as of its LabelledPicture
    cells: NDArray[np.float16]  # [n, F] teaching features
    labels: NDArray[np.int16]  # [n] as of LabelledPicture, none UNKNOWN
    shares: NDArray[np.float32]  # [n] of the picture's labelled cells, for which each one stands; their sum is 1
    text: NDArray[np.float16]  # [n, K] logits by the words, relative to that of the background and its words
    detail: NDArray[np.float16] | None = None  # [n, G] more features, which a head in detail is solved from
    pixels: NDArray[np.uint8] | None = None  # [n, K + 1] of 16 across a cell, by label; None: all have the cell's

    def to_bytes(self) -> bytes:
        """The lesson, to be kept; about 0.6 MB."""
        own = {name: getattr(self, name) for name in (*LESSON, *OPTIONAL)}
        arrays = {name: array for name, array in own.items() if array is not None}
        return _pack("lesson", {"digest": kept_digest(self.digest), "classes": self.classes}, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Lesson:
        """Read `to_bytes`. Raises TeachingError: it is no lesson, damaged, or no picture teaches so."""
        about, arrays = _unpack("lesson", _AboutLesson, content, LESSON, OPTIONAL)
        require_classes(about.classes)
        lesson = cls(_read_digest(about.digest), tuple(about.classes), **arrays)
        n, k = len(lesson.labels), len(about.classes)
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

    name: Text
    pictures: Count
    iou_words: Iou | None = None
    iou_taught: Iou | None = None
    wants: Count = 0
    iou_range: tuple[Iou, Iou] | None = None


class _AboutLesson(BaseModel):
    digest: Text
    classes: list[Text] = Field(max_length=MAX_CLASSES)  # bounds what pydantic says of a hostile one


class _AboutHead(BaseModel):
    digest: Text
    pictures: Count
    classes: list[TaughtClass] = Field(max_length=MAX_CLASSES)
    is_fine: StrictBool = False


@dataclass(frozen=True)
class Head:
    """Classes, in the order of the vocabulary, learned from `pictures` for one version of a model, by its digest.

    `directions` float32 [K, F]; `text` float32 [K] is the factor of each class's text score. `is_fine`: F counts the
    detail of cells, too, for which a picture takes more passes. `places` float32 [K, S + 1]: the mean cell, without
    detail, and the squared radius of the pictures that have a class as taught, in others it has its words; zeros, or
    None for all classes: every picture has it as taught.
    """

    digest: str
    classes: tuple[TaughtClass, ...]
    directions: NDArray[np.float32]
    text: NDArray[np.float32]
    pictures: int = 0
    is_fine: bool = False
    places: NDArray[np.float32] | None = None
    version: str = field(init=False)  # of its content: equal heads have equal versions

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", hashlib.sha256(self.to_bytes()).hexdigest()[:12])

    def learned(self) -> tuple[Learned, ...]:
        """What each class carries in a vocabulary; no direction where it has only the score of its words."""
        places = [b""] * len(self.text)
        if self.places is not None:
            places = [place.tobytes() if place.any() else b"" for place in self.places]
        return tuple(
            Learned(direction.tobytes() if text < 1 else b"", float(text), self.digest, place)
            for direction, text, place in zip(self.directions, self.text, places, strict=True)
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
        places = {} if self.places is None else {"places": self.places}
        return _pack("head", about, {"directions": self.directions, "text": self.text, **places})

    @classmethod
    def from_bytes(cls, content: bytes) -> Head:
        """Read `to_bytes`. Raises TeachingError: it is no head, damaged, or no lessons are solved so."""
        about, arrays = _unpack("head", _AboutHead, content, HEAD, OPTIONAL_OF_HEAD)
        require_classes([entry.name for entry in about.classes])
        directions, text = arrays["directions"], arrays["text"]
        if {len(array) for array in arrays.values()} != {len(about.classes)}:
            raise TeachingError(f"expected directions of {len(about.classes)} classes, got {len(directions)}")
        if np.abs(directions).max() > MAX_WEIGHT or text.min() < 0 or text.max() > 1:
            raise TeachingError(f"expected directions up to {MAX_WEIGHT:.0f} and factors of text in 0..1, got others")
        digest, classes = _read_digest(about.digest), tuple(about.classes)
        return cls(digest, classes, directions, text, about.pictures, about.is_fine, arrays.get("places"))


def kept_digest(digest: str) -> str:
    """The digest of weights as a lesson or a head of this release is kept; what another release kept stays the same."""
    return digest.removesuffix(OTHER_RULES) if digest.endswith(OTHER_RULES) else digest + RULES


def _read_digest(stored: str) -> str:
    """Undo `kept_digest`."""
    return stored.removesuffix(RULES) if stored.endswith(RULES) else stored + OTHER_RULES


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


def _pack(kind: str, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    layout = {name: [array.dtype.str[1:], *array.shape] for name, array in arrays.items()}
    header = json.dumps({"kind": kind, "about": about, "arrays": layout}, ensure_ascii=False).encode()
    rest = b"".join([len(header).to_bytes(4, "little"), header, *(array.tobytes() for array in arrays.values())])
    return MAGIC + hashlib.sha256(rest).digest() + rest


def _unpack(
    kind: str,
    header_type: type[About],
    content: bytes,
    expected: Mapping[str, Layout],
    optional: Mapping[str, Layout] = {},
) -> tuple[About, dict[str, NDArray[Any]]]:
    """The header and the arrays of `_pack`, these of the expected layouts, not empty, and finite. Raises TeachingError:
    of another kind or version, too large, damaged, or with other arrays."""
    if len(content) > MAX_BYTES:
        raise TeachingError(f"expected a {kind} of at most {MAX_BYTES} bytes, got {len(content)}")
    magic, digest, rest = content[: len(MAGIC)], content[len(MAGIC) : START], content[START:]
    if magic != MAGIC and magic[:-1] == MAGIC[:-1]:
        raise TeachingError(f"expected a {kind} of this release's layout, got one of another: send the pictures again")
    if magic != MAGIC or hashlib.sha256(rest).digest() != digest:
        raise TeachingError(f"expected a {kind}, got bytes that are none, or damaged")
    start = 4 + int.from_bytes(rest[:4], "little")
    try:
        header = json.loads(rest[4:start])
        own_kind, about, layouts = header["kind"], header["about"], header["arrays"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise TeachingError(f"expected a {kind}, got bytes with a header that cannot be read ({error})") from None
    if own_kind != kind:
        raise TeachingError(f"expected a {kind}, got a {str(own_kind)[:40]}")
    try:
        return header_type.model_validate(about), _read_arrays(layouts, rest[start:], expected, optional)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise TeachingError(f"expected a {kind}, got one with another {place or 'header'} ({problem['msg']})") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise TeachingError(f"expected a {kind}, got one of other arrays ({error})") from None


def _read_arrays(
    layouts: Any, content: bytes, expected: Mapping[str, Layout], optional: Mapping[str, Layout]
) -> dict[str, NDArray[Any]]:
    """The arrays of a header's layouts. Raises AttributeError, TypeError or ValueError: they are not as expected."""
    own = {name: Layout(numbers, len(shape)) for name, (numbers, *shape) in layouts.items()}
    if not expected.items() <= own.items() <= {**expected, **optional}.items():
        raise ValueError(f"expected {', '.join(expected)}")
    arrays, start = {}, 0
    for name, (numbers, *shape) in layouts.items():
        if not all(type(side) is int and side > 0 for side in shape):
            raise ValueError(f"{name}: expected sides of at least 1")
        dtype = np.dtype(f"<{numbers}")
        end = start + math.prod(shape) * dtype.itemsize
        if end > len(content):
            raise ValueError(f"{name} ends before its last number")
        arrays[name] = np.frombuffer(content[start:end], dtype).reshape(shape)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: expected finite numbers")
        start = end
    if start < len(content):
        raise ValueError(f"{len(content) - start} bytes behind the last one")
    return arrays
