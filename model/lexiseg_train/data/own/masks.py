"""A user's pictures with masks as tools store them: which photograph each belongs to, the classes, each pixel's class.

A folder of masks has `classes.json`, `images/NAME.jpg` and `masks/NAME.png`; the last two perhaps in `train/` and
`val/`. Also read are Roboflow's `NAME_mask.png`, PASCAL VOC's folders, and other names.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels import picture_names
from lexiseg_labels.formats import voc
from lexiseg_labels.formats.marks import is_listed, unreviewed
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.files.names import as_text
from lexiseg_model.pictures.header import read_header, upright
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotations.listed import class_name, faults_of
from lexiseg_train.data.files.documents import read_json, read_text
from lexiseg_train.data.files.inside import SetFiles, picture_bytes
from lexiseg_train.data.indexed import (
    CLASSES,
    IGNORE,
    MAX_PIXELS,
    Reading,
    fitting,
    opened,
    read_classes,
    read_photograph,
)

TRAINING = "training"  # ADE20K's name of it
TRAIN, HELD_OUT = "train", ("val", "valid", "validation")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
# Before or after the name of the photograph: a_mask.png, mask_a.png, a.jpg.png; only the name in a folder of masks.
MARK = r"masks?|labels?|labelids|seg|segmentation|gt|annotation"
MARKED = re.compile(rf"(?:(?P<stem>.+)[_.-](?:{MARK})|(?:{MARK})[_.-](?P<after>.+))", re.IGNORECASE)
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "img_dir", "photos")
MASK_FOLDERS = (
    "masks", "mask", "SegmentationClassPNG", "SegmentationClass", "labels", "label", "annotations", "ann_dir", "gt",
    "segmentation",
)  # fmt: skip
Colour = tuple[int, int, int]
EXAMPLE_LIST = '["background", "cat", "dog"]'
OF_LABEL_MAPS = "labels.json"  # of label maps of release 0.3 and before
ROBOFLOW = "_classes.csv"  # Pixel Value, Class
NAME_LISTS = ("class_names.txt", "classes.txt", "labels.txt")


@dataclass(frozen=True)
class Picture:
    """One photograph; `read_mask` gives [H, W] class indices, 255 = ignore, of the upright photograph."""

    image: Path
    read_mask: Callable[[], NDArray[np.uint8]]

    def read(self, n_classes: int = IGNORE) -> Reading:
        """The upright photograph and its mask, checked as `Sample.read`."""
        image, mask = read_photograph(self.image), self.read_mask()
        if mask.shape != image.shape[:2] and mask.shape == image.shape[1::-1]:  # of the photograph as stored
            mask = upright(mask, read_header(picture_bytes(self.image)).orientation)
        return Reading(image, fitting(self.image, mask, image.shape[:2], n_classes))


@dataclass(frozen=True)
class OwnPictures:
    folder: Path
    classes: tuple[str, ...]  # `classes[v]` is the class of mask value v
    train: tuple[Picture, ...]
    held_out: tuple[Picture, ...]  # kept by the user for validation
    warnings: tuple[str, ...] = ()  # sentences about what was left out
    left_out: tuple[str, ...] = ()  # photographs that cannot be used, each with the reason
    layout: str = "masks"  # what the set was read as

    def warned(self, warnings: tuple[str, ...]) -> OwnPictures:
        return replace(self, warnings=self.warnings + warnings)

    @property
    def named(self) -> dict[int, str]:
        return {value: name for value, name in enumerate(self.classes) if name != BACKGROUND}


def left_out_unreviewed(files: SetFiles, marks: Mapping[Path, bool | None]) -> tuple[list[Path], list[str]]:
    """The photographs of a set that do not count since others are marked as reviewed, and a sentence about them."""
    left_out = unreviewed(marks)
    if left_out and len(left_out) == len(marks):
        raise DatasetError(f"{files.folder}: none of {len(marks)} photographs is marked as reviewed: review some first")
    some = f"such as {files.place_of(left_out[0])}" if left_out else ""
    sentence = f"photographs that are not marked as reviewed, left out: {len(left_out)} of {len(marks)}, {some}"
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
    count = f"{len(without)} of {len(train) + len(val)}"
    warnings = [f"photographs without a mask of their own, left out: {count}, such as {without[0]}"] if without else []
    masks = {image: mask for image, mask in (*train, *val) if mask is not None}
    listed = {image: None if reviewed is None else is_listed(files.place_of(image), reviewed) for image in masks}
    left_out, sentences = left_out_unreviewed(files, listed)
    used = masks.keys() - left_out
    read: Callable[[Path], NDArray[np.uint8]] = partial(read_mask_file, colours=table.colours)
    if len(table.names) == 2 and table.colours is None and _show_255_alone(masks.values()):
        read = _read_white_mask
        warnings.append(f"the masks hold only 0 and {IGNORE}: {IGNORE} is read as {table.names[1]!r}, the only class")
    pictures = [
        [Picture(image, partial(read, masks[image])) for image, _ in pairs if image in used] for pairs in (train, val)
    ]
    faults = [f"{name}: no mask" for name in without] + [f"{files.place_of(image)}: not reviewed" for image in left_out]
    parts = (tuple(pictures[0]), tuple(pictures[1]))
    return OwnPictures(files.folder, tuple(table.names), *parts, (*warnings, *sentences), tuple(faults))


def _refuse_jpeg_masks(files: SetFiles) -> None:
    for split in ("", TRAIN, TRAINING, *HELD_OUT):
        for _, mask in pairs_below(files, split, picture_names.SUFFIXES["JPEG"]):
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


class ClassTable(NamedTuple):
    """Names by mask value, and values by colour; None: masks hold values."""

    names: Sequence[str]
    colours: dict[Colour, int] | None = None


def class_table(files: SetFiles, split: str) -> ClassTable | None:
    """The class list of a set with masks, which may lie in a split; None: it has none."""
    readers = {
        **dict.fromkeys((CLASSES, OF_LABEL_MAPS), lambda path: ClassTable(read_classes(path))),
        ROBOFLOW: _roboflow,
        voc.META: _dataset_meta,  # any names, which a LABEL_MAP cannot hold
        voc.LABEL_MAP: _label_map,
    } | dict.fromkeys(NAME_LISTS, _lines)
    for name, read in readers.items():
        for place in (name, f"{split}/{name}"):
            if (path := files.file(place)) is not None:
                names, colours = read(path)
                if colours is not None and len(colours) < len(names):
                    raise DatasetError(f"{path}: two classes have one colour")
                return ClassTable(_checked(path, names), colours)
    return None


def _checked(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Distinct names, the first called as it is here, if it is the background."""
    if ignored := [name for name in names if class_name(name) is None]:
        raise DatasetError(f"{path}: {ignored[0]!r} is no class; pixels that do not count are {IGNORE}")
    if class_name(names[0]) == BACKGROUND:
        names = [BACKGROUND, *names[1:]]
    some = f"{list(names[:5])}{' ...' if len(names) > 5 else ''}"
    if len({*map(folded, names)}) < len(names) or not {*names} - {BACKGROUND} or len(names) > IGNORE:
        raise DatasetError(f"{path}: expected distinct names, such as {EXAMPLE_LIST}, got {some}")
    return tuple(names)


def _roboflow(path: Path) -> ClassTable:
    rows = [row for row in csv.reader(read_text(path).splitlines()) if len(row) >= 2]
    numbered = {int(value): plain(name.strip()) for value, name, *_ in rows if value.strip().isdecimal()}
    if not numbered or max(numbered) >= IGNORE:
        raise DatasetError(f"{path}: expected lines of a pixel value below {IGNORE} and a class")
    return ClassTable([numbered.get(value, f"value {value}") for value in range(max(numbered) + 1)])


def _lines(path: Path) -> ClassTable:
    names = [plain(line.strip()) for line in read_text(path).splitlines()]
    names = [name for name in names if name and class_name(name) is not None]
    if not names or class_name(names[0]) != BACKGROUND:
        names = [BACKGROUND, *names]  # 0 is no class where a list of names leaves it out
    return ClassTable(names)


def _dataset_meta(path: Path) -> ClassTable:
    with faults_of(path):
        stated = voc.colours_of_meta(read_json(path))
    entries = {class_name(label): colour for label, colour in stated}
    return _by_colours({name: colour for name, colour in entries.items() if name is not None})


def _label_map(path: Path) -> ClassTable:
    stated = voc.colours_of_label_map(read_text(path).splitlines())
    entries = {plain(name): colour for name, colour in stated if class_name(name) is not None}
    if not entries:
        raise DatasetError(f"{path}: expected lines of a class and its colour, NAME:R,G,B::")
    return _by_colours(entries)


def _by_colours(entries: Mapping[str, Colour]) -> ClassTable:
    first = next((name for name in entries if class_name(name) == BACKGROUND), None)
    order = [name for name in entries if name != first]
    colours: dict[Colour, int] = {entries[first] if first is not None else (0, 0, 0): 0}
    colours |= {entries[name]: index for index, name in enumerate(order, 1)}
    return ClassTable((BACKGROUND, *order), colours)


def pairs_below(files: SetFiles, split: str = "", suffixes: Sequence[str] = SUFFIXES) -> list[tuple[Path, Path | None]]:
    """The photographs of a set or of one of its splits, each with its mask, of some suffixes; None: it has none."""
    bases = [(f"{split}/", "")] if split else [("", "")]
    if split:
        bases.append(("", f"/{split}"))
    for before, after in bases:
        for name in IMAGE_FOLDERS:
            place = files.folder_like(f"{before}{name}{after}")
            masks = [files.folder_like(f"{before}{each}{after}") for each in MASK_FOLDERS]
            there = [each for each in masks if each is not None]
            if place is not None and (pairs := _paired(files, place, there, suffixes)):
                return pairs
    place = files.folder_like(split) if split else "."
    return _paired(files, place, [place], suffixes, marked=True) if place is not None else []


def _paired(
    files: SetFiles, place: str, mask_places: Sequence[str], suffixes: Sequence[str], marked: bool = False
) -> list[tuple[Path, Path | None]]:
    """Photographs and masks of folders; none if no photograph has a mask. `marked`: both lie in one folder."""
    masks: dict[tuple[str, str], Path] = {}
    for mask_place in mask_places:
        for path in files.in_folder(mask_place) if marked else files.below(mask_place):
            if path.suffix.lower() in suffixes:
                inside = PurePosixPath(files.place_of(path)).relative_to(mask_place)
                match = MARKED.fullmatch(inside.stem)
                stems = [] if match is None else [match["stem"] or match["after"]]
                for stem in stems if marked else [inside.stem, *stems]:  # the likeliest first
                    masks.setdefault((str(inside.parent), stem), path)
    pairs = []
    for path in files.in_folder(place) if marked else files.below(place):
        inside = PurePosixPath(files.place_of(path)).relative_to(place)
        if is_picture_name(path) and not (marked and MARKED.fullmatch(path.stem)):
            parent = str(inside.parent)
            pairs.append((path, masks.get((parent, inside.name)) or masks.get((parent, inside.stem))))
    sharing = Counter(mask for _, mask in pairs)  # it may be of either
    pairs = [(image, mask if sharing[mask] == 1 else None) for image, mask in pairs]
    return pairs if any(mask is not None for _, mask in pairs) else []


def read_mask_file(path: Path, colours: Mapping[Colour, int] | None = None) -> NDArray[np.uint8]:
    """Mask [H, W] of class indices or IGNORE, of one channel of 1, 8 or 16 bits, equal channels, or `colours`."""
    with opened(path) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise SampleError(str(path), f"{picture.width} x {picture.height} pixels; expected at most {MAX_PIXELS:,}")
        mode = picture.mode
        if colours is not None and mode in ("P", "RGB", "RGBA"):
            return _by_colour(np.asarray(picture.convert("RGB")), colours)
        values = np.asarray(picture.getchannel(0) if mode in ("LA", "PA") else picture)
    if values.ndim == 3 and values.shape[2] >= 3 and (values[..., :3] == values[..., :1]).all():  # gray
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise SampleError(str(path), f"is of mode {mode}; expected one channel of whole numbers, index = class")
    if values.dtype in (np.uint8, np.bool_):
        return values.astype(np.uint8)
    numbers = values.astype(np.int64)  # of 16 bits the largest is ignored, as 255
    numbers[numbers == np.iinfo(np.uint16).max] = IGNORE
    if (beyond := np.unique(numbers[(numbers < 0) | (numbers > IGNORE)])[:5]).size:
        raise SampleError(str(path), f"holds {', '.join(map(str, beyond.tolist()))}; expected indices below {IGNORE}")
    return numbers.astype(np.uint8)


def _read_white_mask(path: Path) -> NDArray[np.uint8]:
    mask = read_mask_file(path)
    return np.where(mask == IGNORE, 1, mask).astype(np.uint8)  # the only class


def _by_colour(pixels: NDArray[np.uint8], colours: Mapping[Colour, int]) -> NDArray[np.uint8]:
    keys = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    mask = np.full(pixels.shape[:2], IGNORE, np.uint8)
    for (red, green, blue), index in colours.items():
        mask[keys == (red << 16 | green << 8 | blue)] = index
    return mask
