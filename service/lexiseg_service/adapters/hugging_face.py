"""Hugging Face's tasks `InferenceClient.image_segmentation(image, model=URL)` and `object_detection`.

Classes are query parameters, `/adapters/hugging-face?classes=cat&classes=sofa`: the task has no field for them.
"""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_labels.masks import png, rle
from lexiseg_model.types import Segment
from lexiseg_service.adapters.tools import ask, convert, image_of_text, options_of, read_as
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.routes import as_json
from lexiseg_service.question.messages import ImageSource

router = APIRouter()


class Parameters(BaseModel):
    """Parameters of the task; other models' are ignored."""

    subtask: Literal["instance", "panoptic", "semantic"] | None = None
    threshold: float | None = None
    candidate_labels: list[str] | None = Field(
        None, fail_fast=True, description="words, as the zero-shot tasks call them"
    )


class Body(BaseModel):
    """A request with parameters; without parameters the body is the image file."""

    inputs: str
    parameters: Parameters = Parameters()


@router.post("")
async def image_segmentation(request: Request) -> Response:
    """One element for each segment: label, score, box, and its mask as a PNG in base64, 255 inside."""
    fields = options_of(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await read_as(Body, request)
        image = await image_of_text(body.inputs, "inputs")
        names = {"subtask": "task", "threshold": "threshold", "candidate_labels": "classes"}
        fields |= {names[name]: value for name, value in body.parameters.model_dump(exclude_none=True).items()}
    else:
        image = ImageSource(await request.body())
    answer = await ask(request, fields, image)
    return as_json(await convert(answer, _element))


def _element(segment: Segment) -> dict[str, Any]:
    mask = png.encode(rle.decode(segment.mask.counts, segment.mask.size).view(np.uint8) * np.uint8(255))
    x, y, width, height = segment.bbox
    box = {"xmin": x, "ymin": y, "xmax": x + width, "ymax": y + height}
    return {"label": segment.label, "score": segment.score, "box": box, "mask": base64.b64encode(mask).decode()}


def adapter(app: FastAPI) -> Adapter:
    return Adapter([router], use='InferenceClient().image_segmentation("photo.jpg", model="ADDRESS?classes=dog")')
