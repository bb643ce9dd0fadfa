"""Answers as the JSON of `POST /segment`."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from lexiseg_model.types import Segment
from lexiseg_service.question.messages import MaskFormat, WorkerAnswer


def render_json(answer: WorkerAnswer, request_id: str) -> bytes:
    """JSON bytes, as `schemas.SegmentAnswer` describes them."""
    return orjson.dumps(content_of(answer, request_id))


def content_of(answer: WorkerAnswer, request_id: str) -> dict[str, Any]:
    """The values of `schemas.SegmentAnswer`."""
    label_map = answer.label_map
    return {
        "id": request_id,
        "image_id": answer.image_id,
        "model": answer.model,
        "model_digest": answer.model_digest,
        "task": answer.task,
        "size": answer.size,
        "segments": [_segment(segment, answer.mask) for segment in answer.segments],
        "label_map": None if label_map is None else {"base64": _base64(label_map.png), "bits": label_map.bits},
        "overlay": None if answer.overlay is None else _base64(answer.overlay),
        "absent": answer.absent,
        "warnings": answer.warnings,
        "timings_ms": {stage: round(value, 2) for stage, value in vars(answer.timings).items()},
        "cache": answer.cache,
        **({} if answer.confidence is None else {"confidence": _base64(answer.confidence)}),
    }


def _mask(segment: Segment, form: MaskFormat) -> dict[str, Any] | None:
    if form == "rle":
        return {"format": "coco_rle", "size": segment.mask.size, "counts": segment.mask.counts}
    if form == "polygon":
        return {"format": "polygon", "rings": segment.rings}  # orjson writes dataclasses
    return None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _segment(segment: Segment, form: MaskFormat) -> dict[str, Any]:
    content = {
        **vars(segment),
        "score": round(segment.score, 4),
        "quality": None if segment.quality is None else round(segment.quality, 4),
        "area": segment.area,
        "bbox": segment.bbox,
        "mask": _mask(segment, form),
    }
    del content["rings"]
    return content
