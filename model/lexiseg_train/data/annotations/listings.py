"""The JSON of Label Studio's tasks, and Datumaro's own: all photographs in one file. Shapes are read as Labelme's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lexiseg_labels.formats import datumaro_reading as datumaro
from lexiseg_labels.formats import label_studio_reading as label_studio
from lexiseg_train.data.annotations.shapes import Listed
from lexiseg_train.data.files.documents import is_json_of, read_json


def is_label_studio(path: Path) -> bool:
    """Whether a file is a list of Label Studio's tasks."""
    return is_json_of(path, ["data", "result"], label_studio.tasks_of)


def in_label_studio(path: Path) -> Iterator[Listed]:
    """The photographs of Label Studio's tasks. Raises DatasetError: the file cannot be read."""
    for task in label_studio.tasks_of(read_json(path)):
        shapes = partial(label_studio.shapes_of, task)
        yield Listed(label_studio.photograph_of(task), *label_studio.size_in(task), shapes)


def is_datumaro(path: Path) -> bool:
    """Whether a file is Datumaro's JSON."""
    return is_json_of(path, ["categories", "items", "labels"], datumaro.items_of)


def in_datumaro(path: Path) -> Iterator[Listed]:
    """The photographs of Datumaro's JSON. Raises DatasetError: the file cannot be read."""
    items, names = datumaro.items_of(read_json(path))
    for item in items:
        yield Listed(*datumaro.image_of(item), partial(datumaro.shapes_of, item, names))
