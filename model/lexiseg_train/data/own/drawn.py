"""A user's photographs with annotations of other tools become index masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import AnnotatedImage, Annotation, Id
from lexiseg_labels.formats.marks import is_listed
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import decode
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded
from lexiseg_train.data.annotations.content import CocoFile, unknown_backgrounds
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import MAX_CLASSES
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.pictures import OwnPictures, Picture, left_out_unreviewed

Size = tuple[int, int]
Drawing = tuple[Annotation, int]  # with its mask value


class Part(NamedTuple):
    """What one listing holds, and whether it is kept for validation.

    `bare_is_background`: the format lists what nobody has labelled as it does what shows no class.
    """

    listing: Path
    content: CocoFile
    held_out: bool = False
    bare_is_background: bool = False


class _Entry(NamedTuple):
    """A photograph of a part."""

    file: Path
    image: AnnotatedImage
    part: Part


def entries_of(files: SetFiles, parts: Sequence[Part]) -> list[_Entry]:
    """The photographs of parts. Raises DatasetError: one is missing."""
    entries = []
    for part in parts:
        images = part.content.images
        photographs = Photographs(part.listing, files).find_all([image.file_name for image in images])
        entries += [_Entry(file, image, part) for file, image in zip(photographs, images, strict=True)]
    return entries


def drawn_pictures(
    files: SetFiles, parts: Sequence[Part], reviewed: frozenset[str] | None, warnings: Sequence[str] = ()
) -> OwnPictures:
    """The photographs of listings. Categories without an annotation are no classes.

    A pixel has a class, is background, or is unknown, IGNORE: of crowds, of boxes without an outline, and of
    annotations that cannot be read. Where masks overlap, the one in front counts, of equals the smaller. Where any
    photograph is marked as reviewed, no other counts.

    Args:
        files: of the set.
        parts: what its listings hold.
        reviewed: the names of a list in their folder.
        warnings: sentences about listings.

    Raises:
        DatasetError: there is no usable annotation, photographs are missing, or none is reviewed of some with a mark.
    """
    entries = entries_of(files, parts)
    marks: dict[Path, bool | None] = {}
    for file, image, _ in entries:
        listed = None if reviewed is None else is_listed(files.place_of(file), reviewed)
        mark = listed if image.reviewed is None else image.reviewed
        marks[file] = mark if marks.get(file) is None else marks[file] or bool(mark)
    left_out, unreviewed = left_out_unreviewed(files, marks)
    used = marks.keys() - left_out
    entries = [entry for entry in entries if entry.file in used]
    class_of, respelled = _classes(entries)
    sentences = [*warnings, *(each for part in parts for each in _sentences(part)), *unreviewed, *respelled]
    sentences += _bare_sentence(files, entries)
    classes = (BACKGROUND, *dict.fromkeys(class_of.values()))
    if not 1 < len(classes) <= MAX_CLASSES + 1:
        more = "".join(f"\n  {sentence}" for sentence in sentences)
        raise DatasetError(
            f"{files.folder}: {len(classes) - 1} categories have annotations; expected 1 to {MAX_CLASSES}{more}"
        )
    values = {name: classes.index(each) for name, each in class_of.items()} | {BACKGROUND: 0}
    train = _pictures([entry for entry in entries if not entry.part.held_out], values)
    held_out = _pictures([entry for entry in entries if entry.part.held_out], values)
    unusable = [each for part in parts for each in part.content.unusable]
    unusable += [f"{files.place_of(file)}: not reviewed" for file in left_out]
    return OwnPictures(files.folder, classes, train, held_out, tuple(sentences), tuple(unusable))


def _classes(entries: Sequence[_Entry]) -> tuple[dict[str, str], list[str]]:
    """Classes by the names of categories that have annotations, and sentences about names that differ in capitals."""
    used: dict[int, set[Id | None]] = {}
    contents = {id(entry.part): entry.part.content for entry in entries}
    for entry in entries:
        used.setdefault(id(entry.part), set()).update(each.category for each in entry.image.annotations)
    names = [name for part, of in contents.items() for key, name in of.categories.items() if key in used[part]]
    by_folded: dict[str, str] = {}
    class_of = {name: by_folded.setdefault(folded(name), name) for name in names if name != BACKGROUND}
    return class_of, [
        f"{name!r} counts as {spelled!r}, from which it differs in capitals" for name, spelled in class_of.items()
        if name != spelled
    ]  # fmt: skip


def _bare_sentence(files: SetFiles, entries: Sequence[_Entry]) -> list[str]:
    """A sentence about photographs without an annotation, which a format lists whether they were looked at or not."""
    labelled = {entry.file for entry in entries if entry.image.annotations or entry.image.reviewed}
    bare = {entry.file: None for entry in entries if entry.part.bare_is_background and entry.file not in labelled}
    if not bare:
        return []
    count = f"{len(bare)} of {len({entry.file for entry in entries})} photographs in {files.folder}"
    some = files.place_of(next(iter(bare)))
    return [f"{count}, such as {some}, have no annotation: all is background; take out what nobody has labelled"]


def _sentences(part: Part) -> list[str]:
    """Sentences about annotations that are left out or ignored."""
    n_groups = part.content.n_groups
    groups = f"{n_groups} annotations in {part.listing} are crowds (iscrowd): their pixels are ignored"
    unknown = unknown_backgrounds(part.listing, part.content.images)
    return [*part.content.warnings, *([groups] if n_groups else []), *unknown]


def _pictures(entries: Sequence[_Entry], values: Mapping[str, int]) -> tuple[Picture, ...]:
    """The photographs with their masks; those of one file are one, with the masks of all; `values` by their names."""
    drawings: dict[tuple[Path, Size], list[Drawing]] = {}
    for file, image, part in entries:
        names = part.content.categories
        drawings.setdefault((file, image.size), []).extend(
            (each, IGNORE if each.ignored or each.category is None else values[names[each.category]])
            for each in image.annotations
        )
    return tuple(Picture(file, partial(_draw_mask, shapes, size)) for (file, size), shapes in drawings.items())


def _draw_mask(drawings: Sequence[Drawing], size: Size) -> NDArray[np.uint8]:
    """[H, W] class indices of the annotations of one photograph: by z_order, then the smaller above, IGNORE below."""
    mask = np.zeros(size, np.uint8)
    shapes = [(each.z_order, decode(draw(each.outline, size)), value) for each, value in drawings]
    for _, shape, value in sorted(shapes, key=lambda each: (each[0], -int(each[1].sum()), each[2] != IGNORE)):
        mask[shape] = value
    return mask
