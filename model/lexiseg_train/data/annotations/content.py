"""What a file of annotations holds, whatever the format: names of classes, and sentences about what is not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lexiseg_labels.annotations import AnnotatedImage, Id
from lexiseg_model.files.names import as_text
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain

MAX_NAMED = 5  # images or annotations in a warning
UNKNOWN_LABEL = "__ignore__"  # of Labelme
BACKGROUND_LABELS = (BACKGROUND, "_background_", "__background__", "bg")  # the second is Labelme's


class LabelFile(NamedTuple):
    """What a file of labels holds, or the files of one folder: by it photographs are found.

    A category may be called BACKGROUND; images of COCO are by rising id.
    """

    listing: Path
    categories: dict[Id, str]  # names, in the order of the file
    images: list[AnnotatedImage]
    warnings: tuple[str, ...]  # sentences about what is not read
    unusable: tuple[str, ...] = ()  # images that are left out, each with the reason
    n_groups: int = 0  # ignored annotations that show several objects (`iscrowd`)
    held_out: bool = False  # for validation
    bare_is_background: bool = False  # the format lists what nobody has labelled as it does what shows no class


def class_name(label: object) -> str | None:
    """The class of a tool's label: BACKGROUND for one of BACKGROUND_LABELS; None, any class, for UNKNOWN_LABEL."""
    name = as_text(plain(str(label)))
    if folded(name) == UNKNOWN_LABEL:
        return None
    return BACKGROUND if folded(name) in BACKGROUND_LABELS else name


def images_left_out(listing: Path, n_images: int, faults: Sequence[str]) -> tuple[str, ...]:
    """A sentence about a listing's unusable images; none without `faults`."""
    if not faults:
        return ()
    of = f"of {n_images} images in {listing}"
    return (as_text(f"{len(faults)} {of} cannot be used and are left out: {some_of(faults)}"),)


def some_of(faults: Sequence[str]) -> str:
    """The first of several faults, for a message."""
    return "; ".join(faults[:MAX_NAMED]) + ("; ..." if len(faults) > MAX_NAMED else "")


def not_read(listing: Path, n_annotations: int, faults: Sequence[str], n_boxes: int) -> tuple[str, ...]:
    """Sentences about a listing's annotations: none at all, unusable ones, and boxes without an outline."""
    of = f"of {n_annotations} annotations in {listing}"
    warnings = []
    if not n_annotations:
        warnings.append(f"{listing} has no annotations")
    if faults:
        warnings.append(f"{len(faults)} {of} cannot be used, their pixels are ignored: {some_of(faults)}")
    if n_boxes:
        warnings.append(f"{n_boxes} {of} are boxes without an outline: their pixels are ignored")
    return tuple(map(as_text, warnings))
