"""A worker's HTTP routes: /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lexiseg_service.question.backend import Backend
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.server import GrpcServer


def create_http_app(backend: Backend, server: GrpcServer, metrics: Metrics) -> Starlette:
    """The application; its lifespan starts the backend, and closes it after the gRPC server."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await backend.start()
        yield
        await server.close()
        await backend.close()

    async def live(_: Request) -> Response:
        health = backend.health()
        status = "alive" if health.alive else "dead"
        return _json(health.alive, {"status": status, "detail": health.detail})

    async def ready(_: Request) -> Response:
        health = backend.health()
        status = "ready" if health.ready else "not ready"
        return _json(health.ready, {"status": status, "detail": health.detail, "degraded": health.degraded})

    async def exposition(request: Request) -> Response:
        content, media_type = await metrics.rendered(request.headers.get("accept", ""))
        return Response(content, media_type=media_type)

    routes = [Route("/livez", live), Route("/readyz", ready), Route("/metrics", exposition)]
    return Starlette(routes=routes, lifespan=lifespan)


def _json(good: bool, content: dict[str, object]) -> Response:
    return Response(orjson.dumps(content), 200 if good else 503, media_type="application/json")
