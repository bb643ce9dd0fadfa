"""Ultralytics' data set of segmentation: DST/yolo with images/, labels/, train.txt, val.txt and data.yaml.

A line of a label is the class and the outline as shares of width and height. The form knows no holes: they are filled.
"""

from __future__ import annotations

import zlib

import yaml

from lexiseg_model.masks.polygons import rings
from lexiseg_model.masks.rle import decode_in_box
from lexiseg_service.commands.bulk.converting.answers import Names, ids_of_answers, rle_of
from lexiseg_service.commands.bulk.converting.pictures import pictures_of
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size
from lexiseg_service.commands.bulk.rows import Row

VAL_SHARE = 10  # by the name, so that a picture stays on its side


def write_yolo(job: Job, destination: Destination, size: Size) -> None:
    """Pictures are read from the source once more; one in `VAL_SHARE` is for validation."""
    names = Names(ids_of_answers(destination, size))
    with destination.open("yolo/train.txt", "w") as train, destination.open("yolo/val.txt", "w") as val:
        for chunk in range(size.chunks):
            for row, picture, suffix in pictures_of(job, destination, chunk):
                name = names.of(row["id"])
                destination.write(f"yolo/images/{name}.{suffix}", picture)
                lines = [line for segment in row["segments"] for line in _lines(segment)]
                destination.write(f"yolo/labels/{name}.txt", "".join(lines).encode())
                split = val if zlib.crc32(name.encode()) % VAL_SHARE == 0 else train
                split.write(f"./images/{name}.{suffix}\n")
    content = {"path": ".", "train": "train.txt", "val": "val.txt"}
    classes = {index: entry.name for index, entry in enumerate(job.vocabulary.classes)}
    destination.write(
        "yolo/data.yaml", yaml.safe_dump(content | {"names": classes}, sort_keys=False, allow_unicode=True).encode()
    )


def _lines(segment: Row) -> list[str]:
    rle = rle_of(segment)
    height, width = rle.size
    x, y, _, _ = rle.bbox
    lines = []
    for ring in rings(decode_in_box(rle), (x, y)):
        scales = (width, height) * (len(ring.exterior) // 2)
        shares = " ".join(f"{value / scale:.6g}" for value, scale in zip(ring.exterior, scales, strict=True))
        lines.append(f"{segment['class_index']} {shares}\n")
    return lines
