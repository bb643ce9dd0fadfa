"""`lexiseg segment --format cutout`: each segment by itself, transparent around it, cut to its box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lexiseg_labels.data_set import File, Format, Picture
from lexiseg_labels.masks import png
from lexiseg_labels.segments import UNNAMED, exportable
from lexiseg_model.pictures.reader import read

MAX_LABEL = 40  # characters of a label in a file name
MAX_LABEL_BYTES = 80
ROOM = MAX_LABEL_BYTES + len("-12345-.png")  # bytes that follow the name of a picture


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    assert picture.read is not None
    rgb = read(picture.read()).rgb
    for segment in exportable(picture.segments):
        x, y, width, height = segment.bbox
        box = np.s_[y : y + height, x : x + width]
        alpha = segment.shape.pixels()[box].astype(np.uint8)[..., None] * np.uint8(255)
        label = _in_file_name(segment.label or UNNAMED)
        yield f"{picture.name}-{segment.id}-{label}.png", png.encode(np.concatenate([rgb[box], alpha], 2))


def _in_file_name(label: str) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in label)[:MAX_LABEL]
    return plain.encode()[:MAX_LABEL_BYTES].decode(errors="ignore")


FORMAT = Format("cutout", "one picture for each segment", _of_picture)
