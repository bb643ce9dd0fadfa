"""The REST routes: thin, each hands over to the use case."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from model.types import ModelCard
from service.errors import DeadlineExceeded, QueueFull, ServiceError, UnknownModel
from service.gateway import body, use_case
from service.gateway.backend import Backend
from service.gateway.openapi import PROBLEMS, SEGMENT_BODY
from service.gateway.rendering import render_answer
from service.gateway.schemas import SegmentAnswer
from service.metrics import Metrics
from service.settings import Settings

router = APIRouter()
T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection; nobody is left to answer."""


@router.post(
    "/segment",
    summary="Masks for an image and a class list",
    responses={200: {"model": SegmentAnswer}, **PROBLEMS},
    openapi_extra={"requestBody": SEGMENT_BODY},
    response_class=Response,
)
async def segment(request: Request) -> Response:
    """Sends back one mask per class that owns pixels, as COCO run lengths."""
    settings: Settings = request.app.state.settings
    metrics: Metrics = request.app.state.metrics
    try:
        asked = await body.read(request, settings.limits)
        owner = getattr(request.state, "key_id", None) or ""
        state = request.app.state
        work = use_case.segment(asked, state.backend, state.vocabularies, settings, owner, state.fetcher)
        answer = await _unless_gone(request, work)
    except ClientGone:
        metrics.failures.labels("canceled").inc()
        return Response(status_code=499)
    except ServiceError as error:
        metrics.failures.labels(_reason(error)).inc()
        raise
    rendered = render_answer(answer, request.state.request_id, asked.question.mask)
    return Response(rendered, media_type="application/json")


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
        working.cancel()
        listening.cancel()


def _reason(error: ServiceError) -> str:
    if isinstance(error, QueueFull):
        return "rejected"
    if isinstance(error, DeadlineExceeded):
        return "timeout"
    return "decode" if error.status in (413, 415) or error.type == "undecodable-image" else "other"


@router.get("/models", summary="Cards of the models served here")
async def list_models(request: Request) -> dict[str, list[dict[str, Any]]]:
    """Tasks, input size, licence, training data, measured quality, digest of the weights."""
    backend: Backend = request.app.state.backend
    return {"models": [_describe(card, backend) for card in backend.cards()]}


@router.get("/models/{name}", summary="One model's card", responses={404: PROBLEMS[404]})
async def show_model(request: Request, name: str) -> dict[str, Any]:
    """`name` may carry a version: `tiny@1`."""
    backend: Backend = request.app.state.backend
    for card in backend.cards():
        if name in (card.name, f"{card.name}@{card.version}"):
            return _describe(card, backend)
    raise UnknownModel(f"no model {name[:80]!r} here; there is: {', '.join(card.name for card in backend.cards())}")


def _describe(card: ModelCard, backend: Backend) -> dict[str, Any]:
    digest = backend.digest(card.name)
    return {**card.model_dump(mode="json"), "digest": digest, "loaded": digest is not None}


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Is the process healthy?", responses={503: PROBLEMS[503]})
async def live(request: Request) -> Response:
    """200 as long as a restart would not help."""
    health = request.app.state.backend.health()
    return _health(health.alive, {"status": "alive" if health.alive else "dead", "detail": health.detail})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Is a model warmed up?", responses={503: PROBLEMS[503]})
async def ready(request: Request) -> Response:
    """200 once requests are answered; the body names what is degraded."""
    health = request.app.state.backend.health()
    degraded = [*health.degraded, *filter(None, [request.app.state.vocabularies.store.degraded()])]
    status = "ready" if health.ready else "not ready"
    return _health(health.ready, {"status": status, "detail": health.detail, "degraded": degraded})


def _health(good: bool, content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), 200 if good else 503, media_type="application/json")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The text exposition format."""
    return Response(request.app.state.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/", include_in_schema=False)
async def home() -> Response:
    """The interactive documentation is the front door."""
    return RedirectResponse("/docs")
