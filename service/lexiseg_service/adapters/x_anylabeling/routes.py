"""The routes of X-AnyLabeling's remote server: models, and polygons of words or marks."""

from __future__ import annotations

from itertools import chain
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.answering import SIMPLIFY, as_json, each
from lexiseg_service.adapters.asking import ask_about
from lexiseg_service.adapters.reading import read_as
from lexiseg_service.adapters.x_anylabeling.models import model_of
from lexiseg_service.adapters.x_anylabeling.parameters import Parameters, asked_by
from lexiseg_service.adapters.x_anylabeling.shapes import shapes_of
from lexiseg_service.gateway.rest.asking import use_case_of

router = APIRouter()


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
    fields = {"model": body.model, "mask": "polygon", "simplify": SIMPLIFY, **asked_by(body.params)}
    answer = await ask_about(request, fields, body.image, "image")
    shapes = list(chain.from_iterable(await each(answer, shapes_of)))
    return as_json({"success": True, "data": {"shapes": shapes, "description": ""}})
