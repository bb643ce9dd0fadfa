"""The routes of segmentation and models, and the way of every question over HTTP to the use case."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lexiseg_service.errors import UnknownModel
from lexiseg_service.gateway.rest import body, openapi_examples, rendering
from lexiseg_service.gateway.rest.openapi import PICTURE, PROBLEMS, REQUEST_ID, SEGMENT_BODY, problems, query
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.use_case import Caller, UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.schemas import ModelList, ModelOutput, Question, SegmentAnswer
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics, failure_reason

T = TypeVar("T")
router = APIRouter()
ModelName = Annotated[str, Path(description="NAME or NAME@VERSION", examples=["tiny"])]


@router.post(
    "/segment",
    summary="Masks for an image and a class list, points or boxes",
    tags=["segmentation"],
    responses={
        200: {
            "model": SegmentAnswer,
            "content": {"application/json": {"examples": openapi_examples.ANSWERS}, "image/png": PICTURE},
        },
        **PROBLEMS,
    },
    openapi_extra={"parameters": [REQUEST_ID, *query()], "requestBody": SEGMENT_BODY},
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Sends back one mask per class that owns pixels, per object, or per thing that a prompt may mean.

    As COCO run lengths unless asked otherwise. With `Accept: image/png` the answer is the label map as a PNG, or with
    `overlay` the picture with its segments painted on; `X-Segments` names what its values mean.
    """
    settings: Settings = request.app.state.settings
    as_png = rendering.wants_png(request.headers.get("accept", ""))
    try:
        answer = await answer_of(request, _read(request, settings, as_png))
    except ClientDisconnect:
        return Response(status_code=499)
    if as_png:
        return rendering.png_response(answer)
    render = partial(rendering.render_json, answer, request.state.request_id)
    content = await body.parse_pool_of(request).run(rendering.nbytes(answer), render)
    return Response(content, media_type="application/json")


async def _read(request: Request, settings: Settings, as_png: bool) -> tuple[Question, ImageSource]:
    question, image = await body.read(request, settings.limits)
    return (rendering.for_png(question) if as_png else question), image


async def answer_of(request: Request, reading: Awaitable[tuple[Question, ImageSource]]) -> WorkerAnswer:
    """The answer to the question that `reading` makes of the request's body; counts failures.

    Raises:
        ServiceError: of any kind; the message is for the client.
        ClientDisconnect: the client hung up first; its work is cancelled.
    """
    metrics: Metrics = request.app.state.metrics
    metrics.question("rest")
    try:
        question, image = await reading
        return await _until_disconnect(request, use_case_of(request).segment(question, image, caller_of(request)))
    except ClientDisconnect:
        metrics.failed("canceled")
        raise
    except Exception as error:
        metrics.failed(failure_reason(error))
        raise


def caller_of(request: Request) -> Caller:
    """The sender of a request, as `Guard` identified it."""
    caller: Caller = request.state.caller
    return caller


def use_case_of(request: Request) -> UseCase:
    """The gateway's use case."""
    use_case: UseCase = request.app.state.use_case
    return use_case


async def _until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up.

    Raises:
        ClientDisconnect: the client hung up first.
    """
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        listening.cancel()
        working.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/models",
    summary="Cards of the models served here",
    tags=["models"],
    responses={200: {"model": ModelList}},
)
async def list_models(request: Request) -> Response:
    """Tasks, input size, licence, training data, measured quality, digest of the weights."""
    return _json({"models": use_case_of(request).models()})


@router.get(
    "/models/{name}",
    summary="One model's card",
    tags=["models"],
    responses={200: {"model": ModelOutput}, **problems(UnknownModel)},
)
async def get_model(request: Request, name: ModelName) -> Response:
    """`name` may carry a version: `tiny@1`."""
    return _json(use_case_of(request).model(name))


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


answer_head(router)
