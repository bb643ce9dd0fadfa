"""A worker's answer as the JSON of POST /segment."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import orjson

from lexiseg_model.types import Segment
from lexiseg_service.question.messages import MANY_BYTES, WorkerAnswer


def bytes_of_pictures(answer: WorkerAnswer) -> int:
    """Of the PNGs that an answer carries."""
    label_map = b"" if answer.label_map is None else answer.label_map.png
    return len(label_map) + len(answer.overlay or b"") + len(answer.confidence or b"")


async def rendered(answer: WorkerAnswer, request_id: str) -> bytes:
    """`render_answer`, in a thread where there are large pictures to write as base64, or large masks; polygons of such
    an answer are gone then."""
    if bytes_of_pictures(answer) + answer.bytes_of_masks > MANY_BYTES:
        return await asyncio.to_thread(_render_in_pieces, answer, request_id)
    return render_answer(answer, request_id)


def render_answer(answer: WorkerAnswer, request_id: str) -> bytes:
    """JSON bytes, as `schemas.SegmentAnswer` describes them."""
    return orjson.dumps(content_of_answer(answer, request_id))


def _render_in_pieces(answer: WorkerAnswer, request_id: str) -> bytes:
    """The same, one segment after the other: others have Python's lock in between, which the writer itself keeps.

    So does who lets go of millions of numbers at once: 35 ms of the event loop where the answer ends there.
    """
    content = content_of_answer(answer, request_id)
    written = []
    for position, segment in enumerate(content["segments"]):
        written.append(orjson.Fragment(orjson.dumps(segment)))
        if answer.polygons is not None:
            answer.polygons[position].clear()
    content["segments"] = written
    return orjson.dumps(content)


def content_of_answer(answer: WorkerAnswer, request_id: str, track_ids: Sequence[int | None] = ()) -> dict[str, Any]:
    """What `schemas.SegmentAnswer` describes; `track_ids`: one for each segment, where there are any."""
    label_map = answer.label_map
    numbers = track_ids or (None,) * len(answer.segments)
    return {
        "id": request_id,
        "image_id": answer.image_id,
        "model": answer.model,
        "model_digest": answer.model_digest,
        "task": answer.task,
        "size": answer.size,
        "segments": [
            _segment(segment, _mask(answer, position), number)
            for position, (segment, number) in enumerate(zip(answer.segments, numbers, strict=True))
        ],
        "label_map": None if label_map is None else {"base64": _base64(label_map.png), "bits": label_map.bits},
        "overlay": None if answer.overlay is None else _base64(answer.overlay),
        "absent": answer.absent,
        "warnings": answer.warnings,
        "timings_ms": {stage: round(value, 2) for stage, value in vars(answer.timings).items()},
        "cache": answer.cache,
        **({} if answer.confidence is None else {"confidence": _base64(answer.confidence)}),
    }


def _mask(answer: WorkerAnswer, position: int) -> dict[str, Any] | None:
    if answer.mask == "rle":
        rle = answer.segments[position].mask
        return {"format": "coco_rle", "size": rle.size, "counts": rle.counts}
    if answer.mask == "polygon" and answer.polygons is not None:
        return {"format": "polygon", "rings": answer.polygons[position]}  # orjson knows dataclasses
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
