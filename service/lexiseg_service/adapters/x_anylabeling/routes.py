"""The routes of X-AnyLabeling's remote server: models, and polygons of words or marks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_model.types import Ring
from lexiseg_service.adapters.answering import SIMPLIFY, as_json, chosen, outline
from lexiseg_service.adapters.asking import ask_about, prompt_of
from lexiseg_service.adapters.reading import read_as
from lexiseg_service.adapters.x_anylabeling.models import model_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.rest.asking import use_case_of
from lexiseg_service.question.messages import WorkerAnswer

router = APIRouter()
LEAST_PART = 0.02  # of a segment's largest part: less is a shape that somebody has to delete


class Mark(BaseModel):
    """A point [x, y] or a rectangle [x0, y0, x1, y1]; `label` 1 is on the object, 0 beside it."""

    type: Literal["point", "rectangle"]
    data: Annotated[list[float], Field(min_length=2, max_length=4)]
    label: int = 1


class Parameters(BaseModel):
    """Of a request; a model's other knobs mean nothing here."""

    text_prompt: str = ""
    marks: list[Mark] = []
    conf_threshold: float = 0.0


class Predict(BaseModel):
    """What the tool sends."""

    model: str
    image: str
    params: Parameters = Parameters()


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """That somebody is here."""
    return {"status": "healthy", "models_loaded": sum(card["loaded"] for card in use_case_of(request).models())}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Every model; what takes clicks has their buttons beside the field of words."""
    return {"success": True, "data": {card["name"]: model_of(card) for card in use_case_of(request).models()}}


@router.get("/v1/models/{name}/info")
async def info(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    return {"success": True, "data": {"model_id": name, **model_of(use_case_of(request).model(name))}}


@router.post("/v1/predict")
async def predict(request: Request) -> Response:
    """Polygons of words, or of what was clicked."""
    body = await read_as(Predict, request)
    asked: dict[str, Any]
    if marks := body.params.marks:
        points = [(mark.data[0], mark.data[1], mark.label == 1) for mark in marks if mark.type == "point"]
        asked = prompt_of(points, [mark.data for mark in marks if mark.type == "rectangle"])
    else:
        words = [word.strip() for word in body.params.text_prompt.replace(".", ",").split(",")]
        asked = {"classes": [word for word in words if word], "threshold": body.params.conf_threshold}
        if not asked["classes"]:
            raise InvalidValue.of("params.text_prompt", body.params.text_prompt, "words, or `marks`")
    fields = {"model": body.model, "mask": "polygon", "simplify": SIMPLIFY, **asked}
    answer = await ask_about(request, fields, body.image, "image")
    return as_json({"success": True, "data": {"shapes": _shapes(answer), "description": ""}})


def _shapes(answer: WorkerAnswer) -> list[dict[str, Any]]:
    """One polygon a part; the parts of one segment are a group."""
    return [
        {
            "label": segment.label or "AUTOLABEL_OBJECT",
            "shape_type": "polygon",
            "points": corners,
            "score": segment.score,
            "group_id": segment.id if len(parts) > 1 else None,
        }
        for segment, parts in ((segment, large_parts(rings)) for segment, rings in chosen(answer))
        for corners in parts
    ]


def large_parts(rings: Sequence[Ring]) -> list[list[list[int]]]:
    """The closed outlines of the parts of a segment that are worth a shape of their own."""
    parts = [(corners := outline(ring)) + corners[:1] for ring in rings]
    areas = [abs(sum(x * v - u * y for (x, y), (u, v) in pairwise(part))) for part in parts]  # twice the area
    return [part for part, area in zip(parts, areas, strict=True) if area >= LEAST_PART * max(areas)]
