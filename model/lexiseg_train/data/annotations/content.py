"""What a file of annotations says about the pixels of its photographs, whatever the format.

A pixel has a class, is background, or is unknown. What was annotated but cannot be read marks an object all the same:
its pixels are unknown, never background.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lexiseg_model.files.names import as_text
from lexiseg_model.types import Rle
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotations.segmentation import Segmentation, box_outline, read_segmentation

MAX_NAMED = 5  # images or annotations in a warning
UNKNOWN_LABEL = "__ignore__"  # of Labelme
BACKGROUND_LABELS = (BACKGROUND, "_background_", "__background__", "bg")  # the second is Labelme's
Id = int | str


class CocoAnnotation(NamedTuple):
    """A mask of one category, checked; pixels of an `ignored` one, a group, a box or what cannot be read, are unknown.

    An ignored one may be of any category: None.
    """

    category: Id | None
    segmentation: Segmentation
    ignored: bool
    stated_area: float | None = None  # pixels; None: not stated

    def read(self, size: tuple[int, int]) -> Rle:
        """Run lengths of the mask on a photograph [H, W]."""
        return read_segmentation(self.segmentation, size)


class CocoImage(NamedTuple):
    """A photograph by the name in the file, its (H, W), and its annotations."""

    file_name: str
    size: tuple[int, int]
    annotations: list[CocoAnnotation]


class CocoFile(NamedTuple):
    """Category names in the order of the file, images by rising id; `warnings` are sentences about what is not read.

    A category may be called BACKGROUND. `unusable` names the images that are left out, each with the reason.
    """

    categories: dict[Id, str]
    images: list[CocoImage]
    n_groups: int  # ignored annotations that show several objects (`iscrowd`)
    warnings: tuple[str, ...]
    unusable: tuple[str, ...] = ()


def class_name(label: object) -> str | None:
    """The class of a tool's label: BACKGROUND for one of BACKGROUND_LABELS; None, any class, for UNKNOWN_LABEL."""
    name = as_text(plain(str(label)))
    if folded(name) == UNKNOWN_LABEL:
        return None
    return BACKGROUND if folded(name) in BACKGROUND_LABELS else name


def unknown(segmentation: Segmentation) -> CocoAnnotation:
    """An object of any class, somewhere in a region."""
    return CocoAnnotation(None, segmentation, True)


def unknown_pixels(size: tuple[int, int]) -> CocoAnnotation:
    """An object that may be anywhere on a photograph [H, W]: below all other annotations every pixel is unknown."""
    return unknown(box_outline((0, 0, size[1], size[0]), size))


def covers_photograph(annotation: CocoAnnotation, size: tuple[int, int]) -> bool:
    """Whether an annotation is one of `unknown_pixels`."""
    return annotation == unknown_pixels(size)


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


def unknown_backgrounds(listing: Path, images: Sequence[CocoImage]) -> tuple[str, ...]:
    """A sentence about photographs with `unknown_pixels`; none where there are none."""
    count = sum(any(covers_photograph(each, image.size) for each in image.annotations) for image in images)
    if not count:
        return ()
    where = f"{count} of {len(images)} photographs in {listing}"
    return (as_text(f"{where} have an annotation of unknown place: what no other explains is ignored"),)
