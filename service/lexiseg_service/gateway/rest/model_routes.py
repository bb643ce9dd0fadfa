"""REST routes of models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_model.catalogue.available import available
from lexiseg_service.errors import UnknownModel
from lexiseg_service.gateway.rest.openapi import problems
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.rest.routes import as_json, caller_of, use_case_of
from lexiseg_service.question.schemas import AvailableModels, ModelList, ModelOutput

router = APIRouter()
ModelName = Annotated[str, Path(description="model name, as NAME or NAME@VERSION", examples=["tiny"])]


@router.get(
    "/models",
    summary="Cards of the models served here",
    tags=["models"],
    responses={200: {"model": ModelList}},
)
async def list_models(request: Request) -> Response:
    """List tasks, input size, licence, training data, measured quality and digest of the weights for each model."""
    return as_json({"models": use_case_of(request).models(), "features": _features_for(request)})


@router.get(
    "/models/available",
    summary="Models that could be served here",
    tags=["models"],
    responses={200: {"model": AvailableModels}},
)
async def list_available() -> Response:
    """List networks, hub, sizes, licence, published figures and the command to serve it for each model."""
    return as_json({"models": [model.model_dump(mode="json") for model in available().values()]})


@router.get(
    "/models/{name}",
    summary="One model's card",
    tags=["models"],
    responses={200: {"model": ModelOutput}, **problems(UnknownModel)},
)
async def get_model(request: Request, name: ModelName) -> Response:
    """Return the card of one model; `name` may carry a version: `tiny@1`."""
    return as_json(use_case_of(request).model(name))


def _features_for(request: Request) -> list[str]:
    """The optional parts of the service that are on, and that the caller may use."""
    state, caller = request.app.state, caller_of(request)
    may_train = caller.admin or not caller.owner
    return [name for name, part in state.parts.items() if part is not None and (may_train or name != "trainings")]


answer_head(router)
