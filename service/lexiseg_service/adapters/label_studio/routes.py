"""The routes that Label Studio asks an ML backend at; it keeps no state and is not trained here."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.answering import SIMPLIFY, as_json
from lexiseg_service.adapters.asking import ask
from lexiseg_service.adapters.label_studio.clicks import Context, asked_by, label_of
from lexiseg_service.adapters.label_studio.config import Control, control_of
from lexiseg_service.adapters.label_studio.images import image_of
from lexiseg_service.adapters.label_studio.regions import prediction_of, version_of
from lexiseg_service.adapters.reading import read_as
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.rest.asking import use_case_of

router = APIRouter()


class Task(BaseModel):
    """One picture of a project."""

    data: dict[str, Any]


class Parameters(BaseModel):
    """`context` is what an annotator has drawn, when he waits for a mask."""

    context: Context | None = None


class Predict(BaseModel):
    """What Label Studio sends."""

    tasks: Annotated[list[Task], Field(max_length=256)]
    label_config: str
    params: Parameters | None = None


@router.get("/")
@router.get("/health")
async def health() -> dict[str, str]:
    """That somebody is here."""
    return {"status": "UP", "model_class": "lexiseg"}


@router.post("/setup")
async def setup(request: Request) -> dict[str, str]:
    """The version that predictions are filed under."""
    return {"model_version": _version(request)}


@router.get("/versions")
async def versions(request: Request) -> dict[str, list[str]]:
    """Of the model that answers."""
    return {"versions": [_version(request)]}


@router.post("/webhook", status_code=201)
async def webhook() -> dict[str, Any]:
    """Training is `lexiseg train`'s: annotations that are told here change nothing."""
    return {}


@router.post("/predict")
async def predict(request: Request) -> Response:
    """A prediction for each task: its labels' masks, or the mask of what was clicked."""
    body = await read_as(Predict, request)
    control = control_of(body.label_config)
    context = None if body.params is None else body.params.context
    results = [await _predicted(request, control, task, context, index) for index, task in enumerate(body.tasks)]
    return as_json({"results": results, "model_version": _version(request)})


async def _predicted(
    request: Request, control: Control, task: Task, context: Context | None, index: int
) -> dict[str, Any]:
    field = f"tasks.{index}.data.{control.image_field}"
    value = task.data.get(control.image_field)
    if not isinstance(value, str):
        raise InvalidValue.of(field, value, "the image's URL")
    image, url = await image_of(request, value, field)
    asked = {**control.options, "mask": "rle"}
    if control.kind == "polygonlabels":
        asked |= {"mask": "polygon", "simplify": SIMPLIFY}
    if context is not None and context.result:
        asked |= asked_by(context)
        answer = await ask(request, asked, image, url)
        return await asyncio.to_thread(prediction_of, answer, control, label_of(context))
    answer = await ask(request, {**asked, "classes": control.classes}, image, url)
    return await asyncio.to_thread(prediction_of, answer, control)


def _version(request: Request) -> str:
    default = use_case_of(request).models()[0]
    return version_of(default["name"], default["digest"])
