"""COCO's panoptic format, as panopticapi reads it: PNG maps of segment ids, and panoptic.json.

A pixel holds the id of its segment as R + 256 G + 65536 B, 0 for the background (cocodataset/panopticapi, `utils.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lexiseg_labels.data_set import DataSet, File, Format, Picture, category_of
from lexiseg_labels.json_text import SCORE_DECIMALS, json_file, rounded
from lexiseg_labels.masks import png
from lexiseg_labels.pictures import colour
from lexiseg_labels.segments import drawing_order, exportable

FOLDER, LISTING = "panoptic", "panoptic.json"


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    ids = np.zeros(picture.size, np.uint16)
    for segment in drawing_order(picture.segments):
        ids[segment.shape.pixels()] = segment.id
    rgb = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], 2).astype(np.uint8)
    yield f"{FOLDER}/{picture.name}.png", png.encode(rgb)


def _shared(data: DataSet) -> Iterator[File]:
    things = [True] * len(data.classes) if data.things is None else data.things
    members = {
        "images": (
            {"id": number, "file_name": picture.file_name, "height": picture.size[0], "width": picture.size[1]}
            for number, picture in enumerate(data.pictures(), 1)
        ),
        "annotations": (_annotation(number, picture, data) for number, picture in enumerate(data.pictures(), 1)),
        "categories": [
            {
                "id": 1 + place,
                "name": name,
                "supercategory": name,
                "isthing": int(place >= len(things) or things[place]),
                "color": list(colour(place)),
            }
            for place, name in enumerate(data.categories)
        ],
    }
    yield LISTING, json_file(members)


def _annotation(number: int, picture: Picture, data: DataSet) -> dict[str, Any]:
    segments = [
        {
            "id": segment.id,
            "category_id": 1 + category_of(segment, data.classes),
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
            "score": rounded(segment.score, SCORE_DECIMALS),
        }
        for segment in exportable(picture.segments)
    ]
    return {"image_id": number, "file_name": f"{picture.name}.png", "segments_info": segments}


FORMAT = Format(
    "coco-panoptic", f"{FOLDER}/, {LISTING} and images/, for masks that do not overlap", _of_picture, _shared, "images"
)
