"""A user's pictures with class indices: of masks in folders, or drawn from annotations of other tools.

A folder of masks has `classes.json`, `images/NAME.jpg` and `masks/NAME.png`; the last two perhaps in `train/` and
`val/`. Also read are Roboflow's `NAME_mask.png`, PASCAL VOC's folders, and other names (`mask_files`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import AnnotatedImage, Annotation, Id, unknown_pixels
from lexiseg_labels.formats.marks import is_listed, unreviewed
from lexiseg_labels.picture_names import SUFFIXES
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import as_text
from lexiseg_model.masks.rle import decode
from lexiseg_model.pictures.header import read_header, upright
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded
from lexiseg_train.data.annotations.content import LabelFile
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.annotations.photographs import Photographs
from lexiseg_train.data.files.documents import read_text
from lexiseg_train.data.files.frames import picture_bytes
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.files.limits import MAX_CLASSES
from lexiseg_train.data.indexed import CLASSES, IGNORE, Reading, fitting, read_photograph
from lexiseg_train.data.own.mask_files import (
    EXAMPLE_LIST,
    class_table,
    pairs_below,
    read_mask_file,
    read_white_mask,
)

TRAINING = "training"  # ADE20K's name of it
TRAIN, HELD_OUT = "train", ("val", "valid", "validation")

Size = tuple[int, int]
MaskReader = Callable[[], NDArray[np.uint8]]
Drawing = tuple[Annotation, int]  # with its mask value


@dataclass(frozen=True)
class Picture:
    """One photograph; `read_mask` gives [H, W] class indices, 255 = ignore, of the upright photograph."""

    image: Path
    read_mask: MaskReader

    def read(self, n_classes: int = IGNORE) -> Reading:
        """The upright photograph and its mask, checked as `Sample.read`."""
        image, mask = read_photograph(self.image), self.read_mask()
        if mask.shape != image.shape[:2] and mask.shape == image.shape[1::-1]:  # of the photograph as stored
            mask = upright(mask, read_header(picture_bytes(self.image)).orientation)
        return Reading(image, fitting(self.image, mask, image.shape[:2], n_classes))


@dataclass(frozen=True)
class OwnPictures:
    """The pictures of a folder."""

    folder: Path
    classes: tuple[str, ...]  # `classes[v]` is the class of mask value v
    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]  # kept by the user for validation
    warnings: tuple[str, ...] = ()  # sentences about what was left out
    left_out: tuple[str, ...] = ()  # photographs that cannot be used, each with the reason
    layout: str = "masks"  # what the set was read as

    def warned(self, warnings: tuple[str, ...]) -> OwnPictures:
        """The same with more sentences about what was left out."""
        return replace(self, warnings=self.warnings + warnings)

    @property
    def named(self) -> dict[int, str]:
        """Classes without the background by mask value."""
        return {value: name for value, name in enumerate(self.classes) if name != BACKGROUND}


def _left_out_unreviewed(files: SetFiles, marks: Mapping[Path, bool | None]) -> tuple[list[Path], list[str]]:
    """The photographs of a set that do not count since others are marked as reviewed, and a sentence about them."""
    left_out = unreviewed(marks)
    if left_out and len(left_out) == len(marks):
        raise DatasetError(f"{files.folder}: none of {len(marks)} photographs is marked as reviewed: review some first")
    some = f"such as {files.place_of(left_out[0])}" if left_out else ""
    sentence = f"{len(left_out)} of {len(marks)} photographs are not marked as reviewed and are left out, {some}"
    return left_out, [as_text(sentence)] * bool(left_out)


def read_folders(files: SetFiles, reviewed: frozenset[str] | None = None) -> OwnPictures | None:
    """List the photographs of a set with masks, only `reviewed` ones where there is such a list; None: no masks."""
    by_split = {name: pairs_below(files, name) for name in (TRAIN, TRAINING, *HELD_OUT)}
    train = by_split.pop(TRAIN) or by_split.pop(TRAINING) or pairs_below(files)
    by_split.pop(TRAINING, None)
    if not train:
        _refuse_jpeg_masks(files)
        return None
    table = class_table(files, TRAIN)
    if table is None:
        raise DatasetError(f"there is no {files.folder / CLASSES}: names, index = mask value, such as {EXAMPLE_LIST}")
    val = [pair for pairs in by_split.values() for pair in pairs]
    listing = files.file("ImageSets/Segmentation/val.txt")  # PASCAL VOC's
    apart = set[str]() if listing is None else set(read_text(listing).split())
    val += [pair for pair in train if pair[0].stem in apart]
    train = [pair for pair in train if pair[0].stem not in apart]
    without = [image.name for image, mask in (*train, *val) if mask is None]
    sentence = f"{len(without)} of {len(train) + len(val)} photographs have no mask and are left out, such as"
    warnings = [f"{sentence} {without[0]}"] if without else []
    masks = {image: mask for image, mask in (*train, *val) if mask is not None}
    listed = {image: None if reviewed is None else is_listed(files.place_of(image), reviewed) for image in masks}
    left_out, sentences = _left_out_unreviewed(files, listed)
    used = masks.keys() - left_out
    read: Callable[[Path], NDArray[np.uint8]] = partial(read_mask_file, colours=table.colours)
    if len(table.names) == 2 and table.colours is None and _show_255_alone(masks.values()):
        read = read_white_mask
        warnings.append(f"the masks hold only 0 and {IGNORE}: {IGNORE} is read as {table.names[1]!r}, the only class")
    pictures = [
        [Picture(image, partial(read, masks[image])) for image, _ in pairs if image in used] for pairs in (train, val)
    ]
    faults = [f"{name}: no mask" for name in without] + [f"{files.place_of(image)}: not reviewed" for image in left_out]
    return OwnPictures(
        files.folder, table.names, tuple(pictures[0]), tuple(pictures[1]), (*warnings, *sentences), tuple(faults)
    )


def _refuse_jpeg_masks(files: SetFiles) -> None:
    for split in ("", TRAIN, TRAINING, *HELD_OUT):
        for _, mask in pairs_below(files, split, SUFFIXES["JPEG"]):
            if mask is not None:
                raise DatasetError(f"{mask} is a mask in JPEG, which changes its values: save masks as PNG")


def _show_255_alone(masks: Iterable[Path]) -> bool:
    """Whether masks hold 255 and besides it nothing but 0: in a set of one class it marks the class."""
    values: set[int] = set()
    for mask in masks:
        with suppress(SampleError):
            values.update(np.unique(read_mask_file(mask)).tolist())
        if values - {0, IGNORE}:
            return False
    return IGNORE in values


class _Entry(NamedTuple):
    """A photograph of a part."""

    file: Path
    image: AnnotatedImage
    part: LabelFile


def entries_of(files: SetFiles, parts: Sequence[LabelFile]) -> list[_Entry]:
    """The photographs of parts. Raises DatasetError: one is missing."""
    entries = []
    for part in parts:
        images = part.images
        photographs = Photographs(part.listing, files).find_all([image.file_name for image in images])
        entries += [_Entry(file, image, part) for file, image in zip(photographs, images, strict=True)]
    return entries


def drawn_pictures(
    files: SetFiles, parts: Sequence[LabelFile], reviewed: frozenset[str] | None, warnings: Sequence[str] = ()
) -> OwnPictures:
    """The photographs of listings. Categories without an annotation are no classes.

    A pixel has a class, is background, or is unknown, IGNORE: of crowds, of boxes without an outline, and of
    annotations that cannot be read. Where masks overlap, the one in front counts, of equals the smaller. Where any
    photograph is marked as reviewed, no other counts.
    """
    entries = entries_of(files, parts)
    marks: dict[Path, bool | None] = {}
    for file, image, _ in entries:
        listed = None if reviewed is None else is_listed(files.place_of(file), reviewed)
        mark = listed if image.reviewed is None else image.reviewed
        marks[file] = mark if marks.get(file) is None else marks[file] or bool(mark)
    left_out, unreviewed_note = _left_out_unreviewed(files, marks)
    used = marks.keys() - left_out
    entries = [entry for entry in entries if entry.file in used]
    class_of, respelled = _classes(entries)
    sentences = [*warnings, *(each for part in parts for each in _sentences(part)), *unreviewed_note, *respelled]
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
    unusable = [each for part in parts for each in part.unusable]
    unusable += [f"{files.place_of(file)}: not reviewed" for file in left_out]
    return OwnPictures(files.folder, classes, train, held_out, tuple(sentences), tuple(unusable))


def _classes(entries: Sequence[_Entry]) -> tuple[dict[str, str], list[str]]:
    """Classes by the names of categories that have annotations, and sentences about names that differ in capitals."""
    used: dict[int, set[Id | None]] = {}
    parts = {id(entry.part): entry.part for entry in entries}
    for entry in entries:
        used.setdefault(id(entry.part), set()).update(each.category for each in entry.image.annotations)
    names = [name for key, part in parts.items() for each, name in part.categories.items() if each in used[key]]
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


def _sentences(part: LabelFile) -> list[str]:
    sentences = [*part.warnings]
    if part.n_groups:
        sentences.append(
            f"{part.n_groups} annotations in {part.listing} are crowds (iscrowd): their pixels are ignored"
        )
    if count := sum(unknown_pixels(image.size) in image.annotations for image in part.images):
        where = f"{count} of {len(part.images)} photographs in {part.listing}"
        sentences.append(as_text(f"{where} have an annotation of unknown place: what no other explains is ignored"))
    return sentences


def _pictures(entries: Sequence[_Entry], values: Mapping[str, int]) -> tuple[Picture, ...]:
    """The photographs with their masks; those of one file are one, with the masks of all; `values` by their names."""
    drawings: dict[tuple[Path, Size], list[Drawing]] = {}
    for file, image, part in entries:
        names = part.categories
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
