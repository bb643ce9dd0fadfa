"""A data set that is written: its classes and pictures, and what a format makes of them.

A format is a value of `Format`: `of_picture` gives the files of one picture, `shared` files that all pictures share,
which may read the pictures again. Files come as they are made, so that a set of millions is never held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from lexiseg_labels.names import numbered
from lexiseg_labels.picture_names import suffix_of
from lexiseg_labels.segments import UNNAMED, Answer, Segment

if TYPE_CHECKING:  # its module reads labels, and no writer needs it
    from lexiseg_labels.formats.marks import Listed

REVIEWED_LIST = "reviewed.txt"  # names of the pictures' files, one a line, of formats that cannot mark a picture

File: TypeAlias = "tuple[str, bytes | Iterator[bytes]]"  # path in the data set, and content


@dataclass(frozen=True)
class Picture:
    """A picture with its segments."""

    name: str  # of its files, without a suffix; once in a data set, as `names.Names` gives it
    size: tuple[int, int]  # height, width
    segments: Sequence[Segment]
    source: str = ""  # path or address by which it was asked about; tools that have the picture know it by this
    suffix: str = ".jpg"
    read: Callable[[], bytes] | None = field(default=None, repr=False)  # the encoded picture, where the set holds it
    link: str | None = None  # path from the data set to the picture, where that lies outside
    model: str = ""  # as `model_version` has it, for formats that state it
    reviewed: bool | None = None  # whether somebody accepted its segments; None: not known

    @property
    def file_name(self) -> str:
        return self.name + self.suffix


def picture_of(answer: Answer, name: str, source: str, **fields: Any) -> Picture:
    """The picture of an answer; `fields` are others of `Picture`, the suffix is that of the source by default."""
    fields = {"suffix": suffix_of(source), "model": model_version(answer.model, answer.model_digest)} | fields
    return Picture(name, answer.size, answer.segments, source, **fields)


def model_version(model: str, digest: str | None, head: str | None = None) -> str:
    """What names a model, its weights and a head: Label Studio groups predictions by it.

    Without a digest the model is not loaded.
    """
    return f"lexiseg-{model}-{(digest or 'unloaded')[:12]}" + (f"+{head}" if head else "")


@dataclass(frozen=True)
class DataSet:
    """Classes, and the pictures, which can be iterated again; each time in the same order."""

    classes: Sequence[str]
    pictures: Callable[[], Iterable[Picture]]
    things: Sequence[bool] | None = None  # whether each class is countable; None: all are

    @cached_property
    def categories(self) -> list[str]:
        """The classes, and after them one for segments without a class, where any is."""
        has_unnamed = any(segment.class_index is None for picture in self.pictures() for segment in picture.segments)
        return [*self.classes, unnamed(self.classes)] if has_unnamed else list(self.classes)


def unnamed(classes: Sequence[str]) -> str:
    """The category of segments without a class: no class is called so."""
    return next(name for name in numbered(UNNAMED) if name not in classes)


def category_of(segment: Segment, classes: Sequence[str]) -> int:
    """The place of a segment's category in `DataSet.categories`."""
    return len(classes) if segment.class_index is None else segment.class_index


def category_name(segment: Segment, classes: Sequence[str]) -> str:
    return unnamed(classes) if segment.class_index is None else classes[segment.class_index]


@dataclass(frozen=True)
class Format:
    """A format of labels."""

    name: str
    files: str  # what is written, for people
    of_picture: Callable[[Picture, Sequence[str]], Iterable[File]] = lambda picture, classes: ()
    shared: Callable[[DataSet], Iterable[File]] = lambda data: ()
    images: str | None = None  # the folder of the pictures; None: tools that read it have them
    aliases: tuple[str, ...] = ()
    max_classes: int | None = None
    embeds: bool = False  # a picture without a link is inside of its labels; `Picture.read` gives it upright
    listing: str | None = None  # the only file, the pictures apart, where there is one
    marks_reviewed: bool = False  # inside of its labels
    # The pictures in a JSON file, and what people call it; raises UnreadableLabels: it is of another format.
    pictures_of: Callable[[object], Iterable[Listed]] | None = None
    title: str = ""

    @property
    def beside(self) -> str | None:
        """The folder of pictures that are given to the written labels; "" is their own, None: none belong there."""
        return "" if self.images is None and self.embeds else self.images

    def has_room(self, n_classes: int) -> bool:
        return self.max_classes is None or n_classes <= self.max_classes

    def check(self, classes: Sequence[str]) -> None:
        """Raises ValueError: more classes than the format has room for."""
        if not self.has_room(len(classes)):
            raise ValueError(f"expected at most {self.max_classes} classes, got {len(classes)}")

    def files_of(self, picture: Picture, classes: Sequence[str]) -> Iterator[File]:
        """The files of one picture: itself, where the set holds pictures and it can be read, and its labels."""
        if self.images is not None and picture.read is not None:
            yield f"{self.images}/{picture.file_name}", picture.read()
        yield from self.of_picture(picture, classes)

    def write(self, data: DataSet) -> Iterator[File]:
        """All files of a data set."""
        self.check(data.classes)
        marks: dict[str, bool] = {}
        for picture in data.pictures():
            if picture.reviewed is not None:
                marks[picture.file_name] = picture.reviewed
            yield from self.files_of(picture, data.classes)
        yield from self.shared(data)
        if marks and not self.marks_reviewed:
            yield REVIEWED_LIST, "".join(f"{name}\n" for name, is_reviewed in marks.items() if is_reviewed).encode()
