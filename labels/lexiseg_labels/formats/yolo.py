"""Export to an Ultralytics YOLO segmentation data set: polygon label files, data.yaml, train.txt and val.txt."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence

from lexiseg_labels.masks.polygons import joined_contour
from lexiseg_labels.segments import Segment, exportable, segment_rings

DECIMALS = 6  # 0.02 pixels in an image of 20,000
VAL_SHARE = 10  # one image in 10 is for validation


def lines(segments: Sequence[Segment], size: tuple[int, int], tolerance: float = 0.0) -> str:
    """See `Segmentation.to_yolo`: `CLASS x y x y ...`, corners as fractions of width and height."""
    height, width = size
    rows = []
    for segment in exportable(segments):
        corners = joined_contour(segment_rings(segment, tolerance)) / (width, height)
        numbers = " ".join(f"{value:.{DECIMALS}f}" for value in corners.reshape(-1).tolist())
        rows.append(f"{0 if segment.class_index is None else segment.class_index} {numbers}\n")
    return "".join(rows)


def data_yaml(names: Sequence[str]) -> str:
    """The text of data.yaml. It has no `path`: trainers resolve the splits against its folder."""
    # A JSON string is a valid YAML scalar.
    entries = "".join(f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(names))
    return f"train: train.txt\nval: val.txt\nnames:\n{entries}"


def splits(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Assign images to splits: yields ("train.txt" or "val.txt", line) for each path below images/.

    The split depends on the image's name alone, so adding images moves none. Trainers refuse an empty split: if one
    gets no image, the first image of the other is in both.
    """
    files = ("train.txt", "val.txt")
    first_lines: dict[str, str] = {}
    for name in names:
        file = files[zlib.crc32(os.fsencode(name.rpartition(".")[0])) % VAL_SHARE == 0]
        line = f"./images/{name}\n"
        first_lines.setdefault(file, line)
        yield file, line
    if len(first_lines) == 1:
        ((file, line),) = first_lines.items()
        yield next(other for other in files if other != file), line
