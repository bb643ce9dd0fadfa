"""Handlers of /livez, /readyz and /metrics, the same in gateway and worker; a worker needs no FastAPI for them."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_service.question.backend import Health
from lexiseg_service.wire.server import GrpcServer


async def get_liveness(request: Request) -> Response:
    """Return 200 unless the process needs a restart, with the port of gRPC."""
    health: Health = request.app.state.use_case.health()
    grpc: GrpcServer = request.app.state.grpc
    status = "alive" if health.alive else "dead"
    return _health(health.alive, {"status": status, "detail": health.detail, "grpc_port": grpc.port or None})


async def get_readiness(request: Request) -> Response:
    """Return 200 once requests are answered; the body names degraded parts."""
    health: Health = request.app.state.use_case.health()
    status = "ready" if health.ready else "not ready"
    return _health(health.ready, {"status": status, "detail": health.detail, "degraded": health.degraded})


async def get_metrics(request: Request) -> Response:
    """Return the text exposition format, with exemplars if the client accepts OpenMetrics."""
    content, media_type = await request.app.state.metrics.rendered(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)


def _health(good: bool, content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), 200 if good else 503, media_type="application/json")
