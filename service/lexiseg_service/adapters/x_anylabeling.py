"""X-AnyLabeling's remote server: `server_url` is /adapters/x-anylabeling, the key is its `api_key`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.asking import SIMPLIFY, ask, image_in, read_as
from lexiseg_service.adapters.roboflow import outline
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.rest.asking import use_case_of
from lexiseg_service.question.messages import WorkerAnswer

router = APIRouter()
# What the tool shows of its own for a model, by what the model is asked for.
OF_WORDS: list[dict[str, Any]] = [
    {"name": "edit_text", "value": None, "placeholder": "words, with commas or full stops between them"},
    {"name": "button_send", "value": None},
    {"name": "edit_conf", "value": 0.0},
    {"name": "toggle_preserve_existing_annotations", "value": False},
]
OF_CLICKS: list[dict[str, Any]] = [
    {"name": name, "value": None}
    for name in (
        "button_add_point",
        "button_remove_point",
        "button_add_rect",
        "button_clear",
        "button_finish_object",
        "output_label",
    )
]


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
    """Every model twice where it takes clicks: a task of words, a task of clicks."""
    return {"success": True, "data": {card["name"]: _model(card) for card in use_case_of(request).models()}}


@router.get("/v1/models/{name}/info")
async def info(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    return {"success": True, "data": {"model_id": name, **_model(use_case_of(request).model(name))}}


@router.post("/v1/predict")
async def predict(request: Request) -> Response:
    """Polygons of words, or of what was clicked."""
    body = await read_as(Predict, request)
    fields: dict[str, Any] = {"model": body.model, "mask": "polygon", "simplify": SIMPLIFY}
    if body.params.marks:
        fields |= {"prompts": [_prompt(body.params.marks)], "task": "prompt"}
    else:
        words = [word.strip() for word in body.params.text_prompt.replace(".", ",").split(",")]
        fields |= {"classes": [word for word in words if word], "threshold": body.params.conf_threshold}
        if not fields["classes"]:
            raise InvalidValue.of("params.text_prompt", body.params.text_prompt, "words, or `marks`")
    image, url = image_in(body.image, "image")
    answer = await ask(request, fields, image, url)
    content = {"success": True, "data": {"shapes": _shapes(answer), "description": ""}}
    return Response(orjson.dumps(content), media_type="application/json")


def _model(card: dict[str, Any]) -> dict[str, Any]:
    words = {"display_name": f"lexiseg {card['name']}", "params": {}, "batch_processing_mode": "text_prompt"}
    return {**words, "widgets": [*OF_WORDS, *(OF_CLICKS if "prompt" in card["tasks"] else [])]}


def _prompt(marks: list[Mark]) -> dict[str, Any]:
    points = [{"x": m.data[0], "y": m.data[1], "positive": m.label == 1} for m in marks if m.type == "point"]
    boxes = [mark.data for mark in marks if mark.type == "rectangle"]
    return {"points": points, "box": boxes[-1] if boxes else None}


def _shapes(answer: WorkerAnswer) -> list[dict[str, Any]]:
    """One polygon a part; the parts of one segment are a group. Of a click the best mask counts."""
    return [
        {
            "label": segment.label or "AUTOLABEL_OBJECT",
            "shape_type": "polygon",
            "points": (corners := outline(ring)) + corners[:1],
            "score": segment.score,
            "group_id": segment.id if len(rings) > 1 else None,
        }
        for segment, rings in zip(answer.segments, answer.polygons or (), strict=True)
        if not segment.mask_index
        for ring in rings
    ]
