"""The gateway's ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Lifespan

from lexiseg_service.fleet.rollouts import Rollouts
from lexiseg_service.gateway.admission.door import Door
from lexiseg_service.gateway.admission.key_file import Keys
from lexiseg_service.gateway.admission.limits import Gate
from lexiseg_service.gateway.parsing import Parsing
from lexiseg_service.gateway.rest import problem
from lexiseg_service.gateway.rest.docs_page import Description
from lexiseg_service.gateway.rest.docs_page import router as docs_router
from lexiseg_service.gateway.rest.guard import Guard, open_paths
from lexiseg_service.gateway.rest.middleware import BodyLimit, RequestFrame
from lexiseg_service.gateway.rest.openapi import complete, secure
from lexiseg_service.gateway.rest.paths import serve
from lexiseg_service.gateway.rest.playground import router as playground_router
from lexiseg_service.gateway.rest.probe_routes import router as probe_router
from lexiseg_service.gateway.rest.routes import router
from lexiseg_service.gateway.rest.stream_routes import router as stream_router
from lexiseg_service.gateway.rest.vocabulary_routes import router as vocabulary_router
from lexiseg_service.gateway.rpc.server import MoreService, gateway_server
from lexiseg_service.gateway.rpc.video import VideoService
from lexiseg_service.gateway.state import open_gate, open_vocabularies
from lexiseg_service.gateway.streams import OpenStreams
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.shares import CLIENT_SHARE
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

# FastAPI's own spans and records quote what clients sent; ours are made in lexiseg_service.watch.tracing. A FastAPI
# that makes none yet takes the argument for one of the application's own.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
DESCRIPTION = "Send an image and words, get masks: open-vocabulary segmentation."


def create_app(
    settings: Settings,
    backend: Backend,
    metrics: Metrics,
    gate: Gate | None = None,
    fetcher: UrlFetcher | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """The REST gateway over one backend, which it starts and closes. `gate` and `fetcher` replace the settings' own.

    `app.state.grpc` is the gRPC server over the same use case; whoever serves the application starts it, and
    may add to `app.state.more_services` before.

    Raises:
        InvalidValue: the API keys are not as expected.
        OSError: the API keys cannot be read, or the state directory cannot be used.
    """
    keys = Keys(settings)
    gate = gate or open_gate(settings, metrics, keys)
    door = Door.of(settings, keys, gate)
    if gate is not None:
        metrics.held("clients", lambda: gate.nbytes)
    metrics.held("requests", lambda: door.bytes.in_use)
    metrics.held("fetched", lambda: door.fetched.in_use)
    parsing = Parsing()
    vocabularies = open_vocabularies(settings, metrics, parsing.run)
    metrics.held("vocabularies", lambda: vocabularies.nbytes)
    if fetcher is None and settings.url_fetch:
        fetcher = UrlFetcher(settings.limits.max_image_bytes, part=CLIENT_SHARE)
    rollouts = Rollouts(settings.rollouts_file, lambda model: metrics.passed_over.labels(model).inc())
    use_case = UseCase(backend, vocabularies, settings, fetcher, rollouts, door.fetched)
    video = VideoService(use_case, settings, metrics, door, parsing)
    streams = OpenStreams(video, settings, door.calls)
    more_services: list[MoreService] = []
    grpc = gateway_server(settings, use_case, video, metrics, door, parsing, tracing, more_services)
    open_to_all = open_paths(metrics_need_key=settings.metrics_need_key)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await vocabularies.store.start()
        await backend.start()
        yield
        await streams.close()
        await grpc.close()
        await backend.close()
        await vocabularies.store.close()
        if gate is not None:
            await gate.close()
        parsing.close()

    app = with_routes(lifespan)
    app.state.settings = settings
    app.state.use_case = use_case
    app.state.gate = gate
    app.state.streams = streams
    app.state.grpc = grpc
    app.state.more_services = more_services
    app.state.metrics = metrics
    app.state.vocabularies = vocabularies
    app.state.parsing = parsing
    # Base64 takes four bytes for three; beside the image there are texts, prompts and the form's own lines.
    largest = settings.limits.max_image_bytes * 4 // 3 + settings.limits.max_question_bytes
    app.add_middleware(
        BodyLimit,
        max_bytes=largest,
        room=door.bytes,
        to_wait=settings.deadline_seconds,
        to_come=settings.body_seconds,
    )
    app.add_middleware(Guard, keys=keys, gate=gate, open_to_all=open_to_all)
    app.add_middleware(RequestFrame, metrics=metrics, tracing=tracing)
    if settings.cors_origins:  # outermost: a browser shows its page no answer without these headers, not even an error
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", "X-API-Key", "X-Request-Id"],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-Id"],
        )

    app.state.description = Description(lambda: described(app, open_to_all, keys_needed=keys.needed))
    app.openapi = app.state.description.whole  # type: ignore[method-assign]
    return app


def with_routes(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The routes, with nothing behind them yet."""
    app = FastAPI(
        title="lexiseg",
        version=version("lexiseg"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        openapi_url=None,  # FastAPI would write it on the event loop
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # what clients that are made from OpenAPI call it
        telemetry=NO_TELEMETRY,
    )
    serve(app, router)
    serve(app, vocabulary_router)
    serve(app, stream_router)
    app.include_router(probe_router)
    app.include_router(docs_router)
    app.include_router(playground_router)
    ours = [router, vocabulary_router, stream_router, probe_router, docs_router, playground_router]
    problem.install(app, [app.router, *ours])
    return app


def described(app: FastAPI, open_to_all: Container[str], *, keys_needed: bool) -> dict[str, Any]:
    """The routes as OpenAPI."""
    schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    complete(schema)
    secure(schema, open_to_all, needed=keys_needed)
    return schema
