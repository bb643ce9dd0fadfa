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
MAX_8_BIT = 254  # classes; 255 means in an 8-bit mask that a pixel does not count


def class_values(picture: Picture, classes: Sequence[str]) -> NDArray[np.uint16]:
    """[H, W]: 1 + the place of each pixel's category, 0 without a segment."""
    values = np.zeros(picture.size, np.uint16)
    for segment in drawing_order(picture.segments):
        values[segment.shape.pixels()] = 1 + category_of(segment, classes)
    return values


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    values = class_values(picture, classes)
    # By the number of classes, so that all maps of a set are alike.
    yield f"{picture.name}.png", png.encode(values.astype(np.uint8) if len(classes) < MAX_8_BIT else values)


def _shared(data: DataSet) -> Iterator[File]:
    names = dict(enumerate([BACKGROUND, *data.categories]))
    yield "classes.json", json.dumps(names, ensure_ascii=False, indent=1).encode()


FORMAT = Format("label-maps", "a PNG for each picture and classes.json", _of_picture, _shared, aliases=("labelmap",))
