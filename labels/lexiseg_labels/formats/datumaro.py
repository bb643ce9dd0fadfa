"""Datumaro's own JSON: masks as run lengths, labels by number, and the pictures with it.

What its tool writes is read by `formats/datumaro_reading.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lexiseg_labels.data_set import DataSet, File, Format, Picture, category_of
from lexiseg_labels.json_text import SCORE_DECIMALS, json_file, rounded
from lexiseg_labels.segments import drawing_order, run_lengths

ANNOTATIONS, IMAGES = "annotations/default.json", "images/default"


def _shared(data: DataSet) -> Iterator[File]:
    labels = [{"name": name, "parent": "", "attributes": []} for name in data.categories]
    members = {
        "info": {"description": "lexiseg"},
        "categories": {"label": {"labels": labels, "attributes": []}},
        "items": (_item(picture, data) for picture in data.pictures()),
    }
    yield ANNOTATIONS, json_file(members)


def _item(picture: Picture, data: DataSet) -> dict[str, Any]:
    annotations = [
        {
            "id": number,
            "type": "mask",
            "attributes": {"score": rounded(segment.score, SCORE_DECIMALS)},
            "group": number,
            "label_id": category_of(segment, data.classes),
            "rle": run_lengths(segment),
            "z_order": number,
        }
        for number, segment in enumerate(drawing_order(picture.segments), 1)
    ]
    image = {"path": picture.file_name, "size": list(picture.size)}
    marks = {} if picture.reviewed is None else {"reviewed": picture.reviewed}
    return {"id": picture.name, "annotations": annotations, "attr": marks, "image": image}


FORMAT = Format(
    "datumaro", f"{IMAGES}/ and {ANNOTATIONS}", shared=_shared, images=IMAGES, listing=ANNOTATIONS, marks_reviewed=True
)
