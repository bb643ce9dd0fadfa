"""Class names of sets with masks, from the lists of common tools: index or colour of each class."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats import voc
from lexiseg_model.errors import DatasetError
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded, plain
from lexiseg_train.data.annotations.content import class_name
from lexiseg_train.data.files.documents import read_json, read_text
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.indexed import CLASSES, IGNORE, read_classes
from lexiseg_train.data.own.mask_files import Colour

EXAMPLE_LIST = '["background", "cat", "dog"]'
OF_LABEL_MAPS = "labels.json"  # of label maps of release 0.3 and before
ROBOFLOW = "_classes.csv"  # Pixel Value, Class
NAME_LISTS = ("class_names.txt", "classes.txt", "labels.txt")


class ClassTable(NamedTuple):
    """Names by mask value, and values by colour; None: masks hold values."""

    names: tuple[str, ...]
    colours: dict[Colour, int] | None = None


def class_table(files: SetFiles, split: str) -> ClassTable | None:
    """The class list of a set with masks; None: it has none.

    Args:
        files: of the set.
        split: a folder in which the list may lie.

    Raises:
        DatasetError: a list is damaged, or its names are not distinct.
    """
    readers = {
        CLASSES: _ours,
        OF_LABEL_MAPS: _ours,
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
    if len({*map(folded, table.names)}) < len(table.names) or not distinct or len(table.names) > IGNORE:
        raise DatasetError(f"{path}: expected distinct names, such as {EXAMPLE_LIST}, got {_some(table.names)}")
    return table


def _some(names: Sequence[str]) -> str:
    return f"{list(names[:5])}{' ...' if len(names) > 5 else ''}"


def _ours(path: Path) -> ClassTable:
    return ClassTable(read_classes(path))


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
