"""COCO annotations, and the detections of supervision and FiftyOne."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lexiseg_client.errors import MissingLibrary, NoMasks
from lexiseg_client.segments import NotAsked, Segment

if TYPE_CHECKING:
    import fiftyone
    import supervision


def coco_annotations(segments: Sequence[Segment], image_id: int, first_id: int | None = None) -> list[dict[str, Any]]:
    """See `Segmentation.to_coco`; `first_id` numbers the annotations of many images, None takes the segments' ids."""
    return [
        {
            "id": segment.id if first_id is None else first_id + place,
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
        for place, segment in enumerate(segments)
    ]


def _prompt_fields(segment: Segment) -> dict[str, Any]:
    """The fields of a segment that answers a prompt; none for other tasks."""
    if segment.prompt_index is None:
        return {}
    return {"prompt_index": segment.prompt_index, "mask_index": segment.mask_index, "quality": segment.quality}


def _shape(segment: Segment) -> Any:
    if segment.rle is not None:
        return segment.rle
    if segment.polygons is None:
        raise NoMasks('COCO annotations need run lengths or polygons: ask with mask="rle" or mask="polygon"')
    # COCO polygons have no holes; tools fill all rings by even-odd or lose them.
    if any(ring.holes for ring in segment.polygons):
        raise NoMasks('a part of a mask has holes, which COCO polygons cannot express: ask with mask="rle"')
    return [ring.exterior.reshape(-1).tolist() for ring in segment.polygons]


def supervision_detections(segments: Sequence[Segment]) -> supervision.Detections:
    """See `Segmentation.to_supervision`."""
    try:
        import supervision
    except ImportError:
        raise MissingLibrary("supervision is not installed: pip install supervision") from None
    if not segments:
        return supervision.Detections.empty()
    tracked = all(segment.track_id is not None for segment in segments)
    masked = not any(isinstance(segment.shape, NotAsked) for segment in segments)
    prompted = [_prompt_fields(segment) for segment in segments]
    return supervision.Detections(
        xyxy=np.array([segment.xyxy for segment in segments], np.float32),
        mask=np.stack([segment.shape.pixels() for segment in segments]) if masked else None,
        confidence=np.array([segment.score for segment in segments], np.float32),
        class_id=np.array([-1 if segment.class_index is None else segment.class_index for segment in segments]),
        tracker_id=np.array([segment.track_id for segment in segments]) if tracked else None,
        data={
            "class_name": np.array([segment.label or "" for segment in segments]),
            **{name: np.array([entry[name] for entry in prompted]) for name in (prompted[0] if all(prompted) else ())},
        },
    )


def fiftyone_detections(segments: Sequence[Segment], size: tuple[int, int]) -> fiftyone.Detections:
    """See `Segmentation.to_fiftyone`."""
    try:
        import fiftyone
    except ImportError:
        raise MissingLibrary("fiftyone is not installed: pip install fiftyone") from None
    height, width = size
    detections = []
    for segment in segments:
        x, y, w, h = segment.bbox
        (left, across), (top, down) = _shares(x, w, width), _shares(y, h, height)
        masked = not isinstance(segment.shape, NotAsked)
        detections.append(
            fiftyone.Detection(
                label=segment.label or "",
                bounding_box=[left, top, across, down],
                mask=segment.shape.pixels()[y : y + h, x : x + w] if masked else None,
                confidence=segment.score,
                index=segment.track_id,
            )
        )
    return fiftyone.Detections(detections=detections)


def _shares(start: int, length: int, size: int) -> tuple[float, float]:
    """Start and length as shares of an image's side that give the same pixels after FiftyOne truncates.

    80 / 427 of 427 pixels are 79.99...: truncated, the mask would lie a pixel beside its place.
    """
    first, share = start / size, length / size
    while int(size * first) < start:
        first = math.nextafter(first, 2)
    while int(size * (first + share)) < start + length:
        share = math.nextafter(share, 2)
    return first, share
