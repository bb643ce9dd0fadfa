"""Export to COCO annotations and to the detections of supervision and FiftyOne."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lexiseg_client.errors import MissingLibrary, NoMasks
from lexiseg_client.segments import Answer, MaskOmitted, Segment

if TYPE_CHECKING:
    import fiftyone
    import supervision


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
            **_prompt_fields(segment),
        }
        for offset, segment in enumerate(segments)
    ]


def _prompt_fields(segment: Segment) -> dict[str, Any]:
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


def to_supervision(answer: Answer) -> supervision.Detections:
    """`supervision.Detections` with boxes, masks, scores, class indices, track ids and `data["class_name"]`.

    Prompted segments also have `data["prompt_index"]`, `data["mask_index"]` and `data["quality"]`.

    Raises:
        MissingLibrary: supervision is not installed.
    """
    segments = answer.segments
    try:
        import supervision
    except ImportError:
        raise MissingLibrary("supervision is not installed: pip install supervision") from None
    if not segments:
        none = supervision.Detections.empty()
        none.data = {"class_name": np.array([], str)}
        return none
    has_tracks = all(segment.track_id is not None for segment in segments)
    has_masks = not any(isinstance(segment.shape, MaskOmitted) for segment in segments)
    prompt_fields = [_prompt_fields(segment) for segment in segments]
    return supervision.Detections(
        xyxy=np.array([segment.xyxy for segment in segments], np.float32),
        mask=np.stack([segment.shape.pixels() for segment in segments]) if has_masks else None,
        confidence=np.array([segment.score for segment in segments], np.float32),
        class_id=np.array([-1 if segment.class_index is None else segment.class_index for segment in segments]),
        tracker_id=np.array([segment.track_id for segment in segments]) if has_tracks else None,
        data={
            "class_name": np.array([segment.label or "" for segment in segments]),
            **{
                name: np.array([entry[name] for entry in prompt_fields])
                for name in (prompt_fields[0] if all(prompt_fields) else ())
            },
        },
    )


def to_fiftyone(answer: Answer) -> fiftyone.Detections:
    """`fiftyone.Detections` with relative boxes, masks, scores and `index` = track id.

    Raises:
        MissingLibrary: fiftyone is not installed.
    """
    try:
        import fiftyone
    except ImportError:
        raise MissingLibrary("fiftyone is not installed: pip install fiftyone") from None
    height, width = answer.size
    detections = []
    for segment in answer.segments:
        x, y, w, h = segment.bbox
        (left, box_width), (top, box_height) = _relative(x, w, width), _relative(y, h, height)
        has_mask = not isinstance(segment.shape, MaskOmitted)
        detections.append(
            fiftyone.Detection(
                label=segment.label or "",
                bounding_box=[left, top, box_width, box_height],
                mask=segment.shape.pixels()[y : y + h, x : x + w] if has_mask else None,
                confidence=segment.score,
                index=segment.track_id,
            )
        )
    return fiftyone.Detections(detections=detections)


def _relative(start: int, length: int, size: int) -> tuple[float, float]:
    """Start and length in pixels as fractions of `size`, rounded up so that FiftyOne's truncation restores them.

    80 / 427 x 427 is 79.99... in floating point: truncated, the mask would be shifted by one pixel.
    """
    relative_start, relative_length = start / size, length / size
    while int(size * relative_start) < start:
        relative_start = math.nextafter(relative_start, 2)
    while int(size * (relative_start + relative_length)) < start + length:
        relative_length = math.nextafter(relative_length, 2)
    return relative_start, relative_length
