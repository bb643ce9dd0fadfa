"""YOLO's segmentation data set, as Ultralytics trains on it: a line of corners for each segment.

`CLASS x y x y ...`: corners as shares of width and height, floor(x * 10^6 / width + 0.5) millionths. Holes and parts
are joined into one polygon by bridges of zero width. What tools write is read by `formats/yolo_reading.py`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lexiseg_labels.data_set import DataSet, File, Format, Picture
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.segments import Segment, exportable, segment_rings

DECIMALS = 6  # 0.02 pixels in an image of 20,000
VAL_SHARE = 10  # one image in 10 is for validation
TRAIN, VAL = "train.txt", "val.txt"


def lines(segments: Sequence[Segment], size: tuple[int, int], tolerance: float = 0.0, *, without_class: int = 0) -> str:
    """The lines of a picture; a segment without a class gets `without_class`.

    Raises:
        NoMasks: requested with mask="none".
    """
    height, width = size
    scale = 10**DECIMALS
    rows = []
    for segment in exportable(segments):
        corners = joined_contour(segment_rings(segment, tolerance)) * scale / (width, height)
        shares = np.floor(corners + 0.5).astype(np.int64).reshape(-1).tolist()
        numbers = " ".join(f"{share // scale}.{share % scale:0{DECIMALS}d}" for share in shares)
        rows.append(f"{without_class if segment.class_index is None else segment.class_index} {numbers}\n")
    return "".join(rows)


def data_yaml(names: Sequence[str]) -> str:
    """The text of data.yaml. It has no `path`: trainers resolve the splits against its folder."""
    # A JSON string is a valid YAML scalar.
    entries = "".join(f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(names))
    return f"train: {TRAIN}\nval: {VAL}\nnames:\n{entries}"


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    text = lines(picture.segments, picture.size, without_class=len(classes))
    yield f"labels/{picture.name}.txt", text.encode()


def _shared(data: DataSet) -> Iterator[File]:
    for split in (TRAIN, VAL):
        yield split, _listed(split, (picture.file_name for picture in data.pictures()))
    yield "data.yaml", data_yaml(data.categories).encode()


def _listed(split: str, names: Iterable[str]) -> Iterator[bytes]:
    """The lines of a split's pictures.

    The split depends only on the picture's name, so adding pictures moves none. Trainers refuse an empty split: if one
    gets no picture, the first of the other is in both.
    """
    first, is_empty = None, True
    for name in names:
        is_val = zlib.crc32(os.fsencode(name.rpartition(".")[0])) % VAL_SHARE == 0
        line = f"./images/{name}\n".encode()
        first = first or line
        if is_val == (split == VAL):
            is_empty = False
            yield line
    if is_empty and first is not None:
        yield first


FORMAT = Format("yolo", "images/, labels/*.txt, train.txt, val.txt and data.yaml", _of_picture, _shared, "images")
