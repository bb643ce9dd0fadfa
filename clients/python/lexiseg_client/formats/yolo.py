"""Ultralytics' segmentation data set: images/, labels/ with lines of polygons, data.yaml, train.txt and val.txt."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence

from lexiseg_client.masks.polygons import one_loop
from lexiseg_client.segments import Segment, borders, exported

DECIMALS = 6  # a fiftieth of a pixel in an image of 20,000
VAL_SHARE = 10  # one image in so many is for validation


def lines(segments: Sequence[Segment], size: tuple[int, int], tolerance: float = 0.0) -> str:
    """See `Segmentation.to_yolo`: `CLASS x y x y ...`, corners in shares of width and height."""
    height, width = size
    text = []
    for segment in exported(segments):
        corners = one_loop(borders(segment, tolerance)) / (width, height)
        numbers = " ".join(f"{value:.{DECIMALS}f}" for value in corners.reshape(-1).tolist())
        text.append(f"{0 if segment.class_index is None else segment.class_index} {numbers}\n")
    return "".join(text)


def data_yaml(names: Sequence[str]) -> str:
    """The data set's description. Without `path`, trainers resolve the splits against the folder of this file."""
    # A JSON string is a quoted scalar of YAML.
    entries = "".join(f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(names))
    return f"train: train.txt\nval: val.txt\nnames:\n{entries}"


def splits(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """("train.txt" or "val.txt", its line) of every image, by its path below images/.

    The split depends on an image's name, so that it does not change when others are added. A trainer refuses an empty
    list: if one side gets no image, the first image of the other side is in both.
    """
    sides = ("train.txt", "val.txt")
    first: dict[str, str] = {}
    for name in names:
        side = sides[zlib.crc32(name.rpartition(".")[0].encode()) % VAL_SHARE == 0]
        line = f"./images/{name}\n"
        first.setdefault(side, line)
        yield side, line
    if len(first) == 1:
        ((side, line),) = first.items()
        yield next(other for other in sides if other != side), line
