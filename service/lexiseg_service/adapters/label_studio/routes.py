"""The routes that Label Studio asks an ML backend at; it keeps no state and is not trained here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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
from lexiseg_service.errors import DeadlineExceeded, QueueFull, RateLimited
from lexiseg_service.gateway.admission.limits import Gate
from lexiseg_service.gateway.rest.asking import use_case_of
from lexiseg_service.settings import Settings

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
    """A prediction for each task: its labels' masks, or the mask of what was clicked.

    Each task counts as a request, and all share one deadline. When a later task fails, what is done is returned, with
    `error` in place of the regions of the others.
    """
    body = await read_as(Predict, request)
    control = await text_beside(body.label_config, control_of)
    context = None if body.params is None else body.params.context
    settings: Settings = request.app.state.settings
    deadline = asyncio.get_running_loop().time() + settings.deadline_seconds
    results: list[dict[str, Any]] = []
    for index, task in enumerate(body.tasks):
        try:
            results.append(await _in_time(request, predicted(request, control, task, context, index), index, deadline))
        except (RateLimited, QueueFull, DeadlineExceeded) as error:
            if not results:
                raise
            left = len(body.tasks) - index
            failed = {"result": [], "error": {"type": error.type, "detail": error.detail}}
            results += [failed] * left
            break
    return as_json({"results": results, "model_version": _version(request)})


async def _in_time(
    request: Request, predicting: Coroutine[Any, Any, dict[str, Any]], index: int, deadline: float
) -> dict[str, Any]:
    """Count every task but the first, which the request itself counts for, and await its prediction.

    Raises:
        RateLimited: the client's rate or quota is used up.
        DeadlineExceeded: the batch took too long.
    """
    gate: Gate | None = request.app.state.gate
    try:
        async with asyncio.timeout_at(deadline):
            if index and gate is not None:
                await gate.count(request.state.client)
            return await predicting
    except TimeoutError:
        seconds = request.app.state.settings.deadline_seconds
        raise DeadlineExceeded(f"no answer within the deadline of {seconds:g} seconds for all tasks") from None
    finally:
        predicting.close()


def _version(request: Request) -> str:
    default = use_case_of(request).models()[0]
    return version_of(default["name"], default["digest"])
