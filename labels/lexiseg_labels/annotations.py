"""What a file of annotations says about the pixels of its pictures, whatever the format.

A pixel has a class, is background, or is unknown. What was annotated but cannot be read marks an object all the same:
its pixels are unknown, never background.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from lexiseg_labels.masks.outlines import Outline, Size, box_outline

Id: TypeAlias = "int | str"
# What readers are given. The class of a tool's label: "" if it has none; None: any class.
ClassName: TypeAlias = "Callable[[object], str | None]"
BEHIND = -(1 << 62)  # z_order below any other
IsBlank: TypeAlias = "Callable[[Outline, Size], bool]"  # whether a checked outline covers no pixel where it is drawn


class Annotation(NamedTuple):
    """A mask of one category, checked; pixels of an `ignored` one, a group, a box or what cannot be read, are unknown.

    An ignored one may be of any category: None.
    """

    category: Id | None
    outline: Outline
    ignored: bool
    stated_area: float | None = None  # pixels; None: not stated
    z_order: int = 0  # the highest is in front; of equals the smaller


class Marks(NamedTuple):
    """What the marks of a picture are: annotations, each unusable mark ("shape 3") and why, and two numbers.

    `n_boxes` are without an outline, `n_marks` is the number of all marks.
    """

    annotations: list[Annotation]
    faults: list[tuple[str, str]]
    n_boxes: int
    n_marks: int


class AnnotatedImage(NamedTuple):
    """A picture by the name in the file, its (H, W), its annotations, and whether a person has reviewed them.

    None: the file does not say whether.
    """

    file_name: str
    size: Size
    annotations: list[Annotation]
    reviewed: bool | None = None


def unknown(outline: Outline) -> Annotation:
    """An object of any class, somewhere in a region."""
    return Annotation(None, outline, True)


def unknown_pixels(size: Size) -> Annotation:
    """An object that may be anywhere on a picture [H, W]: below all other annotations every pixel is unknown."""
    return unknown(box_outline((0, 0, size[1], size[0]), size))._replace(z_order=BEHIND)
