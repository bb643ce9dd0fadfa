"""Masks of a user's set as tools store them: which photograph each belongs to, its classes, and each pixel's class."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import voc
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotations.content import class_name
from lexiseg_train.data.files.documents import read_json, read_text
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.indexed import CLASSES, IGNORE, MAX_PIXELS, opened, read_classes

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


class ClassTable(NamedTuple):
    """Names by mask value, and values by colour; None: masks hold values."""

    names: tuple[str, ...]
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
                return _checked(path, read(path))
    return None


def _checked(path: Path, table: ClassTable) -> ClassTable:
    if ignored := [name for name in table.names if class_name(name) is None]:
        raise DatasetError(f"{path}: {ignored[0]!r} is no class; pixels that do not count are {IGNORE}")
    distinct = {*table.names} - {BACKGROUND}
    some = f"{list(table.names[:5])}{' ...' if len(table.names) > 5 else ''}"
    if len({*map(folded, table.names)}) < len(table.names) or not distinct or len(table.names) > IGNORE:
        raise DatasetError(f"{path}: expected distinct names, such as {EXAMPLE_LIST}, got {some}")
    return table


def _roboflow(path: Path) -> ClassTable:
    rows = [row for row in csv.reader(read_text(path).splitlines()) if len(row) >= 2]
    numbered = {int(value): plain(name.strip()) for value, name, *_ in rows if value.strip().isdecimal()}
    if not numbered or max(numbered) >= IGNORE:
        raise DatasetError(f"{path}: expected lines of a pixel value below {IGNORE} and a class")
    names = [numbered.get(value, f"value {value}") for value in range(max(numbered) + 1)]
    return ClassTable(_background_first(names))


def _lines(path: Path) -> ClassTable:
    names = [plain(line.strip()) for line in read_text(path).splitlines()]
    names = [name for name in names if name and class_name(name) is not None]
    if not names or class_name(names[0]) != BACKGROUND:
        names = [BACKGROUND, *names]  # 0 is no class where a list of names leaves it out
    return ClassTable(_background_first(names))


def _dataset_meta(path: Path) -> ClassTable:
    try:
        stated = voc.colours_of_meta(read_json(path))
    except UnreadableLabels as error:
        raise DatasetError(f"{path}: {error}") from None
    entries = {class_name(label): colour for label, colour in stated}
    return _by_colours({name: colour for name, colour in entries.items() if name is not None})


def _label_map(path: Path) -> ClassTable:
    stated = voc.colours_of_label_map(read_text(path).splitlines())
    entries = {plain(name): colour for name, colour in stated if class_name(name) is not None}
    if not entries:
        raise DatasetError(f"{path}: expected lines of a class and its colour, NAME:R,G,B::")
    return _by_colours(entries)


def _by_colours(entries: Mapping[str, Colour]) -> ClassTable:
    """Classes by the colours of their pixels; the background is the first value."""
    first = next((name for name in entries if class_name(name) == BACKGROUND), None)
    order = [name for name in entries if name != first]
    colours: dict[Colour, int] = {entries[first] if first is not None else (0, 0, 0): 0}
    colours |= {entries[name]: index for index, name in enumerate(order, 1)}
    return ClassTable((BACKGROUND, *order), colours)


def _background_first(names: Sequence[str]) -> tuple[str, ...]:
    """Names with the first called as it is here, if it is the background."""
    return (BACKGROUND, *names[1:]) if class_name(names[0]) == BACKGROUND else tuple(names)


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
                for stem in _stems(inside, marked):
                    masks.setdefault((str(inside.parent), stem), path)
    pairs = []
    for path in files.in_folder(place) if marked else files.below(place):
        inside = PurePosixPath(files.place_of(path)).relative_to(place)
        if is_picture_name(path) and not (marked and MARKED.fullmatch(path.stem)):
            parent = str(inside.parent)
            pairs.append((path, masks.get((parent, inside.name)) or masks.get((parent, inside.stem))))
    return pairs if any(mask is not None for _, mask in pairs) else []


def _stems(name: PurePosixPath, marked: bool) -> list[str]:
    """Names of photographs, with or without suffix, that a mask may belong to, the likeliest first."""
    match = MARKED.fullmatch(name.stem)
    stems = [] if marked else [name.stem]
    return [*stems, match["stem"] or match["after"]] if match is not None else stems


def read_mask_file(path: Path, colours: Mapping[Colour, int] | None = None) -> NDArray[np.uint8]:
    """Mask [H, W] of class indices, 255 = ignored, of one channel of 1, 8 or 16 bits, equal channels, or colours.

    `colours` gives class indices; pixels of other colours are ignored. None: colours are not read.
    """
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
    return _in_8_bits(path, values)


def read_white_mask(path: Path) -> NDArray[np.uint8]:
    """Mask [H, W] of the only class, 1, where the file holds 255. Raises SampleError: as `read_mask_file`."""
    mask = read_mask_file(path)
    mask[mask == IGNORE] = 1
    return mask


def _in_8_bits(path: Path, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Indices of more bits as 8; the largest of 16 bits is ignored, as 255."""
    if values.dtype == np.uint8 or values.dtype == np.bool_:
        return values.astype(np.uint8)
    numbers = values.astype(np.int64)
    numbers[numbers == np.iinfo(np.uint16).max] = IGNORE
    if (beyond := np.unique(numbers[(numbers < 0) | (numbers > IGNORE)])[:5]).size:
        raise SampleError(str(path), f"holds {', '.join(map(str, beyond.tolist()))}; expected indices below {IGNORE}")
    return numbers.astype(np.uint8)


def _by_colour(pixels: NDArray[np.uint8], colours: Mapping[Colour, int]) -> NDArray[np.uint8]:
    """[H, W, 3] -> class indices [H, W]."""
    keys = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    mask = np.full(pixels.shape[:2], IGNORE, np.uint8)
    for (red, green, blue), index in colours.items():
        mask[keys == (red << 16 | green << 8 | blue)] = index
    return mask
