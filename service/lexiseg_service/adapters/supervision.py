"""Answers in the form of Roboflow Inference, which `supervision.Detections.from_inference` and others read.

`POST /adapters/supervision/segment` takes what `POST /segment` takes, form or JSON.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_model.types import Segment
from lexiseg_service.adapters.tools import run_lengths
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest import body
from lexiseg_service.gateway.rest.routes import answer_of, as_json, settings_of
from lexiseg_service.question.messages import WorkerAnswer

router = APIRouter()


@router.post("/segment")
async def segment(request: Request) -> Response:
    """Predictions with centre, size, class, confidence and COCO run lengths."""
    answer = await answer_of(request, body.read(request, settings_of(request).limits))
    request_id = request.state.request_id
    return as_json(inference(answer, request_id, [prediction(segment, request_id) for segment in answer.segments]))


def inference(answer: WorkerAnswer, request_id: str, predictions: list[dict[str, Any]]) -> dict[str, Any]:
    """An answer in Roboflow's format, with its segments as `predictions`."""
    height, width = answer.size
    return {
        "image": {"width": width, "height": height},
        "time": answer.timings_ms.total / 1e3,
        "inference_id": request_id,
        "predictions": predictions,
    }


def prediction(segment: Segment, request_id: str) -> dict[str, Any]:
    """A segment in Roboflow's format, with COCO run lengths."""
    return {**without_mask(segment, request_id), "rle": run_lengths(segment)}


def without_mask(segment: Segment, request_id: str) -> dict[str, Any]:
    """A segment in Roboflow's format; `x` and `y` are the centre of its box, which may lie between two pixels."""
    x, y, width, height = segment.bbox
    return {
        "x": x + width / 2,
        "y": y + height / 2,
        "width": width,
        "height": height,
        "confidence": segment.score,
        "class": segment.label or "",
        "class_id": -1 if segment.class_index is None else segment.class_index,
        "detection_id": f"{request_id}-{segment.id}",
    }


def adapter(app: FastAPI) -> Adapter:
    """The routes."""
    use = "curl ADDRESS/segment -F image=@photo.jpg -F classes=dog, for Detections.from_inference"
    return Adapter([router], use=use)
