"""A gray PNG for each picture: 1 + the place of the class, 0 for the background; the smaller mask is above."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import DataSet, File, Format, Picture, category_of
from lexiseg_labels.masks import png
from lexiseg_labels.segments import drawing_order

BACKGROUND = "background"
LISTING = "classes.json"
MAX_8_BIT = 254  # classes; 255 means in an 8-bit mask that a pixel does not count


def class_values(picture: Picture, classes: Sequence[str]) -> NDArray[np.uint16]:
    """[H, W]: 1 + the place of each pixel's category, 0 without a segment."""
    values = np.zeros(picture.size, np.uint16)
    for segment in drawing_order(picture.segments):
        values[segment.shape.pixels()] = 1 + category_of(segment, classes)
    return values


def names_of(content: object) -> list[str] | None:
    """Class names by pixel value: of a list, or of an object by values from 0 or 1 on, where 0 is the background.

    None: it is neither.
    """
    names = _by_value(content) if isinstance(content, dict) else content
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    return names


def _by_value(content: dict[str, object]) -> list[object] | None:
    numbered = {"0": BACKGROUND} | content
    values = [str(value) for value in range(len(numbered))]
    return [numbered[value] for value in values] if numbered.keys() == {*values} else None


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    values = class_values(picture, classes)
    # By the number of classes, so that all maps of a set are alike.
    yield f"{picture.name}.png", png.encode(values.astype(np.uint8) if len(classes) < MAX_8_BIT else values)


def _shared(data: DataSet) -> Iterator[File]:
    names = dict(enumerate([BACKGROUND, *data.categories]))
    yield LISTING, json.dumps(names, ensure_ascii=False, indent=1).encode()


FORMAT = Format("label-maps", "a PNG for each picture and classes.json", _of_picture, _shared, aliases=("labelmap",))
