"""A worker's answer as HTTP: the JSON of POST /segment, or one PNG for `Accept: image/png`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from lexiseg_model.types import Segment
from lexiseg_service.question.messages import WorkerAnswer
from lexiseg_service.question.schemas import Question

PNG, JSON = "image/png", "application/json"
SEGMENTS_HEADER = "X-Segments"  # names the values of a label map
MAX_NAMED_SEGMENTS = 256
MAX_HEADER_BYTES = 4096  # proxies take eight kilobytes of headers in all


def nbytes(answer: WorkerAnswer) -> int:
    """Size of an answer's masks and pictures in JSON, approximately."""
    label_map = b"" if answer.label_map is None else answer.label_map.png
    return answer.bytes_of_masks + len(label_map) + len(answer.overlay or b"") + len(answer.confidence or b"")


def render_json(answer: WorkerAnswer, request_id: str) -> bytes:
    """JSON bytes, as `schemas.SegmentAnswer` describes them."""
    return orjson.dumps(content_of(answer, request_id))


def content_of(answer: WorkerAnswer, request_id: str, track_ids: Sequence[int | None] = ()) -> dict[str, Any]:
    """The values of `schemas.SegmentAnswer`; `track_ids`: one for each segment, or none."""
    label_map = answer.label_map
    return {
        "id": request_id,
        "image_id": answer.image_id,
        "model": answer.model,
        "model_digest": answer.model_digest,
        "task": answer.task,
        "size": answer.size,
        "segments": [
            _segment(segment, _mask(answer, index), track_id)
            for index, (segment, track_id) in enumerate(
                zip(answer.segments, track_ids or (None,) * len(answer.segments), strict=True)
            )
        ],
        "label_map": None if label_map is None else {"base64": _base64(label_map.png), "bits": label_map.bits},
        "overlay": None if answer.overlay is None else _base64(answer.overlay),
        "absent": answer.absent,
        "warnings": answer.warnings,
        "timings_ms": {stage: round(value, 2) for stage, value in vars(answer.timings).items()},
        "cache": answer.cache,
        **({} if answer.confidence is None else {"confidence": _base64(answer.confidence)}),
    }


def wants_png(accept: str) -> bool:
    """Whether a client prefers a PNG to JSON (RFC 9110, 12.5.1)."""
    return PNG in accept.lower() and _quality(accept, PNG) > _quality(accept, JSON)


def for_png(question: Question) -> Question:
    """A question whose answer contains the PNG: the overlay if requested, else the label map."""
    mask = "none" if question.overlay else "png"
    return question.model_copy(update={"mask": mask, "confidence": False, "simplify": 0.0})


def png_response(answer: WorkerAnswer) -> Response:
    """The PNG; its header names the segments by their ids: `[[1, "sky", 0.91], ...]`."""
    content = answer.overlay if answer.label_map is None else answer.label_map.png
    assert content is not None
    named = [[segment.id, segment.label, round(segment.score, 4)] for segment in answer.segments[:MAX_NAMED_SEGMENTS]]
    while len(text := json.dumps(named)) > MAX_HEADER_BYTES:
        named.pop()
    return Response(content, headers={SEGMENTS_HEADER: text, "X-Image-Id": answer.image_id}, media_type=PNG)


def _mask(answer: WorkerAnswer, index: int) -> dict[str, Any] | None:
    if answer.mask == "rle":
        rle = answer.segments[index].mask
        return {"format": "coco_rle", "size": rle.size, "counts": rle.counts}
    if answer.mask == "polygon" and answer.polygons is not None:
        return {"format": "polygon", "rings": answer.polygons[index]}  # orjson writes dataclasses
    return None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _segment(segment: Segment, mask: dict[str, Any] | None, track_id: int | None) -> dict[str, Any]:
    return {
        "id": segment.id,
        "label": segment.label,
        "class_index": segment.class_index,
        "score": round(segment.score, 4),
        "area": segment.area,
        "bbox": segment.bbox,
        "prompt_index": segment.prompt_index,
        "mask_index": segment.mask_index,
        "quality": None if segment.quality is None else round(segment.quality, 4),
        "is_thing": segment.is_thing,
        "track_id": track_id,
        "mask": mask,
    }


def _quality(accept: str, media_type: str) -> float:
    """The q value of the most specific range that matches a media type."""
    best = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name not in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
            continue
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weight = min(1.0, max(0.0, float(quality)))
        except ValueError:
            weight = 0.0
        best = max(best, (2 - name.count("*"), weight))
    return best[1]
