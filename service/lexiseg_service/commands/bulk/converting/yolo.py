"""Ultralytics' labels of segmentation: DST/yolo/labels/NAME.txt, one line a part, and data.yaml with the names.

A line is the class and the outline as shares of width and height. The form knows no holes: they are filled.
"""

from __future__ import annotations

import yaml

from lexiseg_model.masks.polygons import rings
from lexiseg_model.masks.rle import decode_in_box
from lexiseg_service.commands.bulk.converting.answers import Names, answers, ids_of_answers, rle_of
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size
from lexiseg_service.commands.bulk.rows import Row


def write_yolo(job: Job, destination: Destination, size: Size) -> None:
    """NAME is that of the picture, which belongs in yolo/images; the pictures stay where they are."""
    names = Names(ids_of_answers(destination, size))
    for row in answers(destination, size):
        lines = [line for segment in row["segments"] for line in _lines(segment)]
        destination.write(f"yolo/labels/{names.of(row['id'])}.txt", "".join(lines).encode())
    content = {"path": ".", "train": "images", "val": "images"}
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
