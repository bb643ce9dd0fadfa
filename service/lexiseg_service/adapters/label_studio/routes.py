"""The routes that Label Studio asks an ML backend at; it keeps no state and is not trained here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.adapters.answering import as_json
from lexiseg_service.adapters.label_studio.clicks import Context
from lexiseg_service.adapters.label_studio.config import control_of
from lexiseg_service.adapters.label_studio.regions import version_of
from lexiseg_service.adapters.label_studio.tasks import Task, predicted
from lexiseg_service.adapters.reading import read_as, text_beside
from lexiseg_service.gateway.rest.asking import use_case_of

router = APIRouter()


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
    control = await text_beside(body.label_config, control_of)
    context = None if body.params is None else body.params.context
    results = [await predicted(request, control, task, context, index) for index, task in enumerate(body.tasks)]
    return as_json({"results": results, "model_version": _version(request)})


def _version(request: Request) -> str:
    default = use_case_of(request).models()[0]
    return version_of(default["name"], default["digest"])
