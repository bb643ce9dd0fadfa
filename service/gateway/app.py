"""The gateway's ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.gateway import problem
from service.gateway.backend import Backend
from service.gateway.middleware import BodyLimit, RequestFrame
from service.gateway.openapi import extra_schemas
from service.gateway.routes import router
from service.metrics import Metrics
from service.settings import Settings

DESCRIPTION = "Send an image and words, get masks: open-vocabulary segmentation."


def create_app(settings: Settings, backend: Backend, metrics: Metrics) -> FastAPI:
    """The REST gateway over one backend, which it starts and closes."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        yield
        await backend.close()

    app = FastAPI(
        title="lexiseg", version=version("lexiseg"), description=DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    app.state.settings = settings
    app.state.backend = backend
    app.state.metrics = metrics
    app.include_router(router)
    problem.install(app)
    # Base64 takes four bytes for three; beside the image there are texts and the form's own lines.
    largest = settings.limits.max_image_bytes * 4 // 3 + settings.limits.max_text_bytes * 4
    app.add_middleware(BodyLimit, max_bytes=largest)
    app.add_middleware(RequestFrame, metrics=metrics)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            schema.setdefault("components", {}).setdefault("schemas", {}).update(extra_schemas())
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app
