"""Segments as objects of other libraries: pandas, supervision, FiftyOne."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

import numpy as np

from lexiseg_labels.errors import MissingLibrary
from lexiseg_labels.formats.coco import prompt_fields
from lexiseg_labels.segments import Answer, MaskOmitted, SegmentFields, without_doubtful

if TYPE_CHECKING:
    import fiftyone
    import pandas
    import supervision

COLUMNS = ("id", "label", "class_index", "score", "area", "share", "x", "y", "width", "height")


def to_pandas(answer: Answer) -> pandas.DataFrame:
    """`pandas.DataFrame` with a row for each segment: label, score, area, share of the image, box; no masks.

    Of a prompt's, a thing's and a track's columns the ones that any segment has a value for.

    Raises:
        MissingLibrary: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingLibrary("pandas is not installed: pip install pandas") from None
    pixels = answer.size[0] * answer.size[1]
    defaults = {item.name: item.default for item in fields(SegmentFields) if item.default is not MISSING}
    optional = [name for name in defaults if any(getattr(one, name) != defaults[name] for one in answer.segments)]
    rows = [
        [
            *(segment.id, segment.label, segment.class_index, segment.score, segment.area, segment.area / pixels),
            *segment.bbox,
            *(getattr(segment, name) for name in optional),
        ]
        for segment in answer.segments
    ]
    return pandas.DataFrame(rows, columns=[*COLUMNS, *optional])


def to_supervision(answer: Answer) -> supervision.Detections:
    """`supervision.Detections` with boxes, masks, scores, class indices, track ids and `data["class_name"]`.

    Prompted segments also have `data["prompt_index"]`, `data["mask_index"]` and `data["quality"]`.

    Raises:
        MissingLibrary: supervision is not installed.
    """
    segments = without_doubtful(answer.segments)
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
    prompts = [prompt_fields(segment) for segment in segments]
    return supervision.Detections(
        xyxy=np.array([segment.xyxy for segment in segments], np.float32),
        mask=np.stack([segment.shape.pixels() for segment in segments]) if has_masks else None,
        confidence=np.array([segment.score for segment in segments], np.float32),
        class_id=np.array([-1 if segment.class_index is None else segment.class_index for segment in segments]),
        tracker_id=np.array([segment.track_id for segment in segments]) if has_tracks else None,
        data={
            "class_name": np.array([segment.label or "" for segment in segments]),
            **{name: np.array([entry[name] for entry in prompts]) for name in (prompts[0] if all(prompts) else ())},
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
    for segment in without_doubtful(answer.segments):
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
