"""A worker's answer as the JSON of POST /segment."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import orjson

from model.types import Segment
from service.messages import MaskFormat, WorkerAnswer


def render_answer(answer: WorkerAnswer, request_id: str, mask: MaskFormat) -> bytes:
    """JSON bytes, as `schemas.SegmentAnswer` describes them."""
    return orjson.dumps(
        {
            "id": request_id,
            "image_id": answer.image_id,
            "model": answer.model,
            "model_digest": answer.model_digest,
            "task": answer.task,
            "size": answer.size,
            "segments": [_segment(segment, mask) for segment in answer.segments],
            "label_map": None,
            "overlay": None if answer.overlay is None else base64.b64encode(answer.overlay).decode(),
            "timings_ms": {stage: round(value, 2) for stage, value in asdict(answer.timings).items()},
            "cache": asdict(answer.cache),
        }
    )


def _segment(segment: Segment, mask: MaskFormat) -> dict[str, Any]:
    rle = segment.mask
    return {
        "id": segment.id,
        "label": segment.label,
        "class_index": segment.class_index,
        "score": round(segment.score, 4),
        "area": segment.area,
        "bbox": segment.bbox,
        "prompt_index": None,
        "mask_index": None,
        "quality": None,
        "is_thing": None,
        "track_id": None,
        "mask": {"format": "coco_rle", "size": rle.size, "counts": rle.counts} if mask == "rle" else None,
    }
