"""The routes of segmentation and models: thin, each hands over to the use case."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lexiseg_service.errors import UnknownModel
from lexiseg_service.gateway.failures import reason_of
from lexiseg_service.gateway.rest import body, examples
from lexiseg_service.gateway.rest.compression import leave_as_it_is
from lexiseg_service.gateway.rest.examples import shown
from lexiseg_service.gateway.rest.openapi import PROBLEMS, REQUEST_ID, SEGMENT_BODY, problems
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.rest.rendering import bytes_of_pictures, rendered
from lexiseg_service.gateway.use_case import Caller, UseCase
from lexiseg_service.question.schemas import ModelList, ModelOutput, SegmentAnswer
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

router = APIRouter()
T = TypeVar("T")
ModelName = Annotated[str, Path(description="NAME or NAME@VERSION", examples=["tiny"])]


class ClientGone(Exception):
    """The client closed the connection; nobody is left to answer."""


@router.post(
    "/segment",
    summary="Masks for an image and a class list, points or boxes",
    tags=["segmentation"],
    responses={
        200: {"model": SegmentAnswer, "content": {"application/json": {"examples": examples.ANSWERS}}},
        **PROBLEMS,
    },
    openapi_extra={"parameters": [REQUEST_ID], "requestBody": SEGMENT_BODY},
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Sends back one mask per class that owns pixels, per object, or per thing that a prompt may mean.

    As COCO run lengths unless asked otherwise.
    """
    settings: Settings = request.app.state.settings
    metrics: Metrics = request.app.state.metrics
    try:
        asked = await body.read(request, settings.limits)
        state = request.state
        caller = Caller(state.key_id or "", state.client, state.request_id, state.traceparent)
        answer = await _unless_gone(request, _use_case(request).segment(asked, caller))
    except (ClientGone, ClientDisconnect):
        metrics.failed("canceled")
        return Response(status_code=499)
    except Exception as error:
        metrics.failed(reason_of(error))
        raise
    content = await rendered(answer, request.state.request_id)
    if 2 * bytes_of_pictures(answer) > len(content):
        leave_as_it_is(request)
    return Response(content, media_type="application/json")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; cancels the work when the client hangs up first."""

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(hung_up())
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        # An error that comes in the moment of the cancelling is nobody's any more; asyncio would log it as forgotten.
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        working.cancel()
        listening.cancel()


@router.get(
    "/models",
    summary="Cards of the models served here",
    tags=["models"],
    responses={200: {"model": ModelList, **shown(examples.MODELS)}},
)
async def list_models(request: Request) -> Response:
    """Tasks, input size, licence, training data, measured quality, digest of the weights."""
    return _json({"models": _use_case(request).models()})


@router.get(
    "/models/{name}",
    summary="One model's card",
    tags=["models"],
    responses={200: {"model": ModelOutput, **shown(examples.MODEL)}, **problems(UnknownModel)},
)
async def get_model(request: Request, name: ModelName) -> Response:
    """`name` may carry a version: `tiny@1`."""
    return _json(_use_case(request).model(name))


def _use_case(request: Request) -> UseCase:
    use_case: UseCase = request.app.state.use_case
    return use_case


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


answer_head(router)
