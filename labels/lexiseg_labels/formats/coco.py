"""COCO annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lexiseg_labels.errors import NoMasks
from lexiseg_labels.segments import Segment

# The layout of a data set: one subset, and pictures, by whose path in IMAGES `file_name` calls them.
ANNOTATIONS = "annotations/instances_default.json"
IMAGES = "images"


def coco_annotations(segments: Sequence[Segment], image_id: int, first_id: int | None = None) -> list[dict[str, Any]]:
    """See `Segmentation.to_coco`; annotation ids count from `first_id`, or are the segments' ids if None."""
    return [
        {
            "id": segment.id if first_id is None else first_id + offset,
            "image_id": image_id,
            "category_id": 0 if segment.class_index is None else segment.class_index + 1,
            "category_name": segment.label,
            "segmentation": _shape(segment),
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
            "score": segment.score,
            **prompt_fields(segment),
        }
        for offset, segment in enumerate(segments)
    ]


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
