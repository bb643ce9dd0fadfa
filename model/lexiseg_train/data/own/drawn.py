"""A user's photographs with annotations of other tools become index masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import Annotation, Id
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import decode
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.annotations.content import CocoFile, unknown_backgrounds
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import MAX_CLASSES
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.pictures import OwnPictures, Picture

Size = tuple[int, int]
Drawing = tuple[Annotation, int]  # with its mask value


class Part(NamedTuple):
    """What one listing holds, and whether it is kept for validation."""

    listing: Path
    content: CocoFile
    held_out: bool


def drawn_pictures(files: SetFiles, parts: Sequence[Part], warnings: Sequence[str] = ()) -> OwnPictures:
    """The photographs of listings. Categories without an annotation are no classes.

    A pixel has a class, is background, or is unknown, IGNORE: of crowds, of boxes without an outline, and of
    annotations that cannot be read. Where masks overlap the smaller is above.

    Raises:
        DatasetError: there is no usable annotation, or photographs are missing.
    """
    sentences = [*warnings, *(warning for part in parts for warning in _sentences(part))]
    classes = (BACKGROUND, *dict.fromkeys(name for part in parts for name in _used_names(part.content)))
    if not 1 < len(classes) <= MAX_CLASSES + 1:
        more = "".join(f"\n  {sentence}" for sentence in sentences)
        raise DatasetError(
            f"{files.folder}: {len(classes) - 1} categories have annotations; expected 1 to {MAX_CLASSES}{more}"
        )
    train = _pictures(files, [part for part in parts if not part.held_out], classes)
    held_out = _pictures(files, [part for part in parts if part.held_out], classes)
    unusable = tuple(each for part in parts for each in part.content.unusable)
    return OwnPictures(files.folder, classes, train, held_out, tuple(sentences), unusable)


def _used_names(content: CocoFile) -> list[str]:
    """Names of the categories that have annotations, in the order of the file."""
    used = {each.category for image in content.images for each in image.annotations}
    return [name for category, name in content.categories.items() if category in used and name != BACKGROUND]


def _sentences(part: Part) -> list[str]:
    """Sentences about annotations that are left out or ignored."""
    n_groups = part.content.n_groups
    groups = f"{n_groups} annotations in {part.listing} are crowds (iscrowd): their pixels are ignored"
    unknown = unknown_backgrounds(part.listing, part.content.images)
    return [*part.content.warnings, *([groups] if n_groups else []), *unknown]


def _pictures(files: SetFiles, parts: Sequence[Part], classes: tuple[str, ...]) -> tuple[Picture, ...]:
    """The photographs of listings with their masks; those of one file are one, with the masks of all.

    Raises:
        DatasetError: photographs are missing.
    """
    drawings: dict[tuple[Path, Size], list[Drawing]] = {}
    for part in parts:
        names = part.content.categories.items()
        value_of: dict[Id | None, int] = {category: classes.index(name) for category, name in names if name in classes}
        photographs = Photographs(part.listing, files).find_all([image.file_name for image in part.content.images])
        for file, image in zip(photographs, part.content.images, strict=True):
            values = [IGNORE if each.ignored else value_of[each.category] for each in image.annotations]
            drawings.setdefault((file, image.size), []).extend(zip(image.annotations, values, strict=True))
    return tuple(Picture(file, partial(_draw_mask, drawn, size)) for (file, size), drawn in drawings.items())


def _draw_mask(drawings: Sequence[Drawing], size: Size) -> NDArray[np.uint8]:
    """[H, W] class indices of the annotations of one photograph; the smaller is above, IGNORE below its equals."""
    mask = np.zeros(size, np.uint8)
    drawn = [(decode(draw(each.outline, size)), value) for each, value in drawings]
    for shape, value in sorted(drawn, key=lambda entry: (-int(entry[0].sum()), entry[1] != IGNORE)):
        mask[shape] = value
    return mask
