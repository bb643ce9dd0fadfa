"""The gateway's ASGI application, and its gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from importlib.metadata import version
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from lexiseg_service.gateway.admission.access import AccessControl
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.parts import Part, joined
from lexiseg_service.gateway.rest import (
    export_routes,
    head_routes,
    middleware,
    pages,
    problem,
    routes,
    service_routes,
    stream_routes,
    training_routes,
    vocabulary_routes,
)
from lexiseg_service.gateway.rest.openapi import complete, secure
from lexiseg_service.gateway.rest.paths import serve
from lexiseg_service.gateway.rest.stream_routes import OpenStreams
from lexiseg_service.gateway.rpc.server import gateway_server
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.gateway.video import VideoService
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

# FastAPI's own spans and records quote what clients sent; ours are made in lexiseg_service.watch.tracing. A FastAPI
# without telemetry takes the argument as one of the application's own.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
LICENCE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}  # of the code; weights have their own
UNVERSIONED = (service_routes.probe_router, pages.router, export_routes.router)
DESCRIPTION = "Send an image and words, get masks: open-vocabulary segmentation."


def parts_of_gateway() -> tuple[Part, ...]:
    return (*joined(), head_routes.PART, training_routes.PART)


def create_app(
    settings: Settings,
    backend: Backend,
    metrics: Metrics,
    limits: ClientLimits | None = None,
    fetcher: UrlFetcher | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """The gateway over one backend, which it starts and closes; the caller starts the gRPC server `app.state.grpc`."""
    access = AccessControl.of_settings(settings, metrics, limits)
    vocabularies = open_vocabularies(settings, metrics)
    metrics.watch_cache("vocabularies", lambda: vocabularies.nbytes)
    use_case = UseCase(backend, vocabularies, settings, fetcher, access.fetched)
    video = VideoService(use_case, settings, metrics, access)
    streams = OpenStreams(video, settings, access.streams)
    parts = {part.name: part.open(settings, use_case, access, metrics) for part in parts_of_gateway()}
    grpc = gateway_server(settings, use_case, video, metrics, access, tracing)

    app = with_routes(_running)
    app.state.settings = settings
    app.state.backend = backend
    app.state.use_case = use_case
    app.state.client_limits = access.limits
    app.state.streams = streams
    app.state.parts = parts
    app.state.grpc = grpc
    app.state.adapters = []
    app.state.metrics = metrics
    app.state.vocabularies = vocabularies
    open_paths = middleware.OPEN_PATHS if settings.metrics_need_key else middleware.OPEN_PATHS | {middleware.METRICS}
    _add_middleware(app, access, open_paths, tracing)
    app.state.describing = asyncio.Lock()
    app.openapi = cache(partial(described, app, open_paths, keys_needed=access.keys.are_required))  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Start what answers, and close it in the opposite order."""
    state = app.state
    stores = state.use_case.stores
    for store in stores:
        await store.start()
        for name, check in store.checks.items():
            state.use_case.checks.add(name, check)
    checking = asyncio.create_task(state.use_case.checks.repeat())
    await state.backend.start()
    running = [part for part in state.parts.values() if part is not None]
    for part in running:
        await part.start()
    async with AsyncExitStack() as adapters:
        for each in state.adapters:
            if each.adapter.running is not None:
                await adapters.enter_async_context(each.adapter.running)
        yield
    checking.cancel()
    for part in reversed(running):
        await part.close()
    await state.streams.close()
    await state.grpc.close()
    state.use_case.headers.close()
    await state.backend.close()
    for store in stores:
        await store.close()
    await state.client_limits.close()


def _add_middleware(app: FastAPI, access: AccessControl, open_paths: frozenset[str], tracing: Tracing | None) -> None:
    settings: Settings = app.state.settings
    shutdown = app.state.use_case.shutdown
    uploads = {  # bytes of the files that bodies may bring
        f"/{part.name}": part.max_upload(settings)
        for part in parts_of_gateway()
        if part.max_upload is not None and app.state.parts[part.name] is not None
    }
    app.add_middleware(middleware.Compression)
    app.add_middleware(
        middleware.Guard, settings=settings, access=access, open_paths=open_paths, shutdown=shutdown, uploads=uploads
    )
    app.add_middleware(middleware.WebPages, settings=settings)
    app.add_middleware(middleware.RequestFrame, metrics=app.state.metrics, tracing=tracing)
    app.add_middleware(middleware.UnreadBodies)
    if settings.cors_origins:  # outermost: a browser shows its page no response without these headers
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "X-API-Key", "X-Request-Id"],
            expose_headers=["ETag", "Link", "Location", "Retry-After", "X-Image-Id", "X-Request-Id", "X-Segments"],
        )


def with_routes(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """An application with all routes, and nothing behind them: enough to describe them as OpenAPI."""
    app = FastAPI(
        title="lexiseg",
        version=version("lexiseg"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        openapi_url=None,  # FastAPI would generate it on the event loop
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the scheme of the last proxy's connection
        generate_unique_id_function=attrgetter("name"),
        telemetry=NO_TELEMETRY,
        routes=_served().routes,
    )
    problem.install(app, [app.router, *_versioned(), *UNVERSIONED])
    return app


@cache
def _served() -> APIRouter:
    """All routes, which the applications of a process share: to build them takes a tenth of a second."""
    served = APIRouter(generate_unique_id_function=attrgetter("name"))
    for router in _versioned():
        serve(served, router)
    for router in UNVERSIONED:
        served.include_router(router)
    return served


def _versioned() -> list[APIRouter]:
    own = [routes.router, service_routes.model_router, vocabulary_routes.router, stream_routes.router]
    return [*own, *(part.router for part in parts_of_gateway()), service_routes.data_router]


def described(app: FastAPI, open_paths: Container[str], *, keys_needed: bool) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        license_info=LICENCE,
    )
    complete(schema, [model for part in parts_of_gateway() for model in part.schemas])
    secure(schema, open_paths, required=keys_needed)
    return schema
