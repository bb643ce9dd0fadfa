"""COCO's instances: run lengths in one JSON file, and the pictures with it.

Keys have the order of this module, as the playground's writer; ids count from 1 in the order of the pictures.
What tools write is read by `formats/coco_reading.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lexiseg_labels.data_set import DataSet, File, Format, category_of
from lexiseg_labels.errors import NoMasks
from lexiseg_labels.json_text import SCORE_DECIMALS, json_file, rounded
from lexiseg_labels.segments import Segment, run_lengths, without_doubtful

# The layout of a data set: one subset, and pictures; `file_name` is their path in IMAGES.
ANNOTATIONS = "annotations/instances_default.json"
IMAGES = "images"


def annotations_of(segments: Sequence[Segment], image_id: int) -> list[dict[str, Any]]:
    """See `Segmentation.to_coco`: of one answer, where classes have names and no categories."""
    return [
        _annotation(segment, segment.id, image_id, category, _shape(segment))
        | {"category_name": segment.label, "score": segment.score, **prompt_fields(segment)}
        for segment in without_doubtful(segments)
        for category in [0 if segment.class_index is None else 1 + segment.class_index]
    ]


def _annotation(segment: Segment, number: int, image_id: int, category: int, shape: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "segmentation": shape,
        "area": segment.area,
        "bbox": list(segment.bbox),
        "iscrowd": 0,
    }


def prompt_fields(segment: Segment) -> dict[str, Any]:
    """Extra fields of a prompted segment; empty for other tasks."""
    if segment.prompt_index is None:
        return {}
    return {"prompt_index": segment.prompt_index, "mask_index": segment.mask_index, "quality": segment.quality}


def _shape(segment: Segment) -> Any:
    if segment.rle is not None:
        return segment.rle
    if segment.polygons is None:
        raise NoMasks('COCO annotations need run lengths or polygons: ask with mask="rle" or mask="polygon"')
    if any(ring.holes for ring in segment.polygons):
        raise NoMasks('a part of a mask has holes, which COCO polygons cannot express: ask with mask="rle"')
    return [ring.exterior.reshape(-1).tolist() for ring in segment.polygons]


def _shared(data: DataSet) -> Iterator[File]:
    members = {
        "info": {"description": "lexiseg"},
        "categories": [{"id": number, "name": name} for number, name in enumerate(data.categories, 1)],
        "images": _images(data),
        "annotations": _annotations(data),
    }
    yield ANNOTATIONS, json_file(members)


def _images(data: DataSet) -> Iterator[dict[str, Any]]:
    for number, picture in enumerate(data.pictures(), 1):
        height, width = picture.size
        entry = {"id": number, "file_name": picture.file_name, "height": height, "width": width}
        marks = {} if picture.reviewed is None else {"reviewed": picture.reviewed}
        yield entry | ({"source": picture.source} if picture.source else {}) | marks


def _annotations(data: DataSet) -> Iterator[dict[str, Any]]:
    n_annotations = 0
    for number, picture in enumerate(data.pictures(), 1):
        for segment in without_doubtful(picture.segments):
            n_annotations += 1
            category = 1 + category_of(segment, data.classes)
            quality = None if segment.quality is None else rounded(segment.quality, SCORE_DECIMALS)
            yield {
                **_annotation(segment, n_annotations, number, category, run_lengths(segment)),
                "score": rounded(segment.score, SCORE_DECIMALS),
                **prompt_fields(replace(segment, quality=quality)),
                **({} if segment.track_id is None else {"track_id": segment.track_id}),
            }


FORMAT = Format(
    "coco", f"{IMAGES}/ and {ANNOTATIONS}", shared=_shared, images=IMAGES, listing=ANNOTATIONS, marks_reviewed=True
)
