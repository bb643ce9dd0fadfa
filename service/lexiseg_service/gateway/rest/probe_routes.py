"""The routes for operators: probes and metrics; by convention without a version."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.question.backend import Health
from lexiseg_service.question.schemas import Liveness, Readiness
from lexiseg_service.watch.metrics import Metrics

router = APIRouter()


@router.get(
    "/livez",
    summary="Is the process healthy?",
    tags=["service"],
    responses={
        200: {"model": Liveness},
        503: {"model": Liveness, "description": "The process is not healthy"},
    },
)
async def get_liveness(request: Request) -> Response:
    """Return 200 unless the process needs a restart."""
    health: Health = request.app.state.use_case.health()
    return _health(health.alive, {"status": "alive" if health.alive else "dead", "detail": health.detail})


@router.get(
    "/readyz",
    summary="Is a model warmed up?",
    tags=["service"],
    responses={
        200: {"model": Readiness},
        503: {"model": Readiness, "description": "Requests are not answered yet, or no longer"},
    },
)
async def get_readiness(request: Request) -> Response:
    """Return 200 once requests are answered; the body names degraded parts."""
    health: Health = request.app.state.use_case.health()
    status = "ready" if health.ready else "not ready"
    return _health(health.ready, {"status": status, "detail": health.detail, "degraded": health.degraded})


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    tags=["service"],
    response_class=PlainTextResponse,
)
async def get_metrics(request: Request) -> Response:
    """Return the text exposition format, with exemplars if the client accepts OpenMetrics."""
    metrics: Metrics = request.app.state.metrics
    content, media_type = await metrics.rendered(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)


def _health(good: bool, content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), 200 if good else 503, media_type="application/json")


answer_head(router)
