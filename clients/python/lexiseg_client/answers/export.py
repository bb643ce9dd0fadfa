"""An answer as other tools take it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexiseg_client.answers.masks import NotAsked
from lexiseg_client.errors import MissingLibrary, NoMasks
from lexiseg_client.pictures import png

if TYPE_CHECKING:
    import fiftyone
    import supervision

    from lexiseg_client.answers.segmentation import Segment, Segmentation

LONGEST_NAME = 60  # characters of a label in a file's name


def save_masks(answer: Segmentation, folder: Path) -> list[Path]:
    """See `Segmentation.save_masks`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for segment in answer.segments:
        # A label is a user's string: nothing of it may lead out of the folder.
        label = re.sub(r"[^\w-]+", "-", segment.label or "").strip("-")[:LONGEST_NAME]
        path = folder / (f"{segment.id}-{label}.png" if label else f"{segment.id}.png")
        path.write_bytes(png.encode(segment.shape.pixels().astype(np.uint8) * np.uint8(255)))
        paths.append(path)
    return paths


def to_coco(answer: Segmentation, image_id: int) -> list[dict[str, Any]]:
    """See `Segmentation.to_coco`."""
    return [
        {
            "id": segment.id,
            "image_id": image_id,
            "category_id": 0 if segment.class_index is None else segment.class_index + 1,
            "category_name": segment.label,
            "segmentation": _coco_shape(segment),
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
            "score": segment.score,
            **_of_prompt(segment),
        }
        for segment in answer.segments
    ]


def _of_prompt(segment: Segment) -> dict[str, Any]:
    """What an annotation says of the prompt that it answers; nothing of other tasks."""
    if segment.prompt_index is None:
        return {}
    return {"prompt_index": segment.prompt_index, "mask_index": segment.mask_index, "quality": segment.quality}


def _coco_shape(segment: Segment) -> Any:
    if segment.rle is not None:
        return segment.rle
    if segment.polygons is None:
        raise NoMasks('COCO annotations need run lengths or polygons: ask with mask="rle" or mask="polygon"')
    # COCO's polygons know no holes; tools fill all rings by even-odd or lose them. Only whole parts go out as such.
    if any(ring.holes for ring in segment.polygons):
        raise NoMasks('a part of a mask has holes, which COCO polygons cannot say: ask with mask="rle"')
    return [ring.exterior.reshape(-1).tolist() for ring in segment.polygons]


def to_supervision(answer: Segmentation) -> supervision.Detections:
    """See `Segmentation.to_supervision`."""
    try:
        import supervision
    except ImportError:
        raise MissingLibrary("supervision is not installed: pip install supervision") from None
    if not answer.segments:
        return supervision.Detections.empty()
    segments = answer.segments
    tracked = all(segment.track_id is not None for segment in segments)
    masked = not any(isinstance(segment.shape, NotAsked) for segment in segments)
    prompted = [_of_prompt(segment) for segment in segments]
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


def _fractions(start: int, length: int, size: int) -> tuple[float, float]:
    """Of a side of the image: where FiftyOne, which cuts off what is behind the point, finds the very pixels.

    80 / 427 of 427 pixels are 79.99...: the mask would lie a pixel beside its place, and be stretched.
    """
    first, share = start / size, length / size
    while int(size * first) < start:
        first = math.nextafter(first, 2)
    while int(size * (first + share)) < start + length:
        share = math.nextafter(share, 2)
    return first, share


def to_fiftyone(answer: Segmentation) -> fiftyone.Detections:
    """See `Segmentation.to_fiftyone`."""
    try:
        import fiftyone
    except ImportError:
        raise MissingLibrary("fiftyone is not installed: pip install fiftyone") from None
    height, width = answer.size
    detections = []
    for segment in answer.segments:
        x, y, w, h = segment.bbox
        (left, across), (top, down) = _fractions(x, w, width), _fractions(y, h, height)
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
