"""Add the adapters that the settings name to an application, and read API keys where their tools send them."""

from __future__ import annotations

import base64
import binascii
from importlib import import_module
from importlib.util import find_spec
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.admission.keys import key_of
from lexiseg_service.settings import Settings

PREFIX = "/adapters"
WITH_GRPC = ("kserve",)  # adapters with a gRPC service as well
WITH_MIDDLEWARE = ("x-anylabeling",)  # adapters that change what is answered before their routes
# Adapters whose tools' lists of tasks run as jobs.
WITH_JOBS = {"label-studio": "lexiseg_service.adapters.label_studio_jobs"}
PATHS = ("/adapters/", "/api/function", "/v2")  # prefixes of all adapters' routes


def install(app: FastAPI, settings: Settings) -> None:
    """Add routes and gRPC services of the enabled adapters; modules of the others are not imported.

    Routes are below /adapters/NAME, unless the adapter's router has a prefix of its own. OpenAPI does not list them:
    they are interfaces of other tools.

    Raises:
        InvalidValue: a library that an adapter needs is not installed.
    """
    for name in settings.adapters:
        if name == "mcp":  # an application of its own, not routes
            require_sdk()
            import_module("lexiseg_service.adapters.mcp").mount(app, settings)
            continue
        module = import_module(f"lexiseg_service.adapters.{name.replace('-', '_')}")
        router: APIRouter = module.router
        prefix = "" if router.prefix else f"{PREFIX}/{name}"
        app.include_router(router, prefix=prefix, include_in_schema=False)
        if name in WITH_JOBS and app.state.parts.get("jobs") is not None:
            import_module(WITH_JOBS[name]).install(app, prefix)
        if name in WITH_MIDDLEWARE:
            app.add_middleware(module.Middleware)
        if name in WITH_GRPC:
            app.state.more_services.append(module.service(app, settings))
    if settings.adapters:
        app.add_middleware(KeysOfTools)


def require_sdk() -> None:
    """Check that the library of the adapter `mcp` is installed. Raises InvalidValue: it is not."""
    if find_spec("mcp") is None:
        raise InvalidValue("MCP needs the SDK of the Model Context Protocol: pip install mcp")


class KeysOfTools:
    """ASGI middleware: copies an API key from where a tool sends it to the header `X-API-Key`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PATHS):
            headers = Headers(scope=scope)
            if key_of(headers.get("authorization"), headers.get("x-api-key")) is None and (key := _key_of_tool(scope)):
                # Headers are latin-1, and so are all valid keys.
                added = (b"x-api-key", key.encode("latin-1", "replace"))
                scope = {**scope, "headers": [*(pair for pair in scope["headers"] if pair[0] != added[0]), added]}
        await self._app(scope, receive, send)


def _key_of_tool(scope: Scope) -> str | None:
    """The key of `Token: KEY` (X-AnyLabeling), HTTP Basic's password (Label Studio), or `?api_key=KEY` (Roboflow)."""
    headers = Headers(scope=scope)
    if token := headers.get("token", "").strip():
        return token
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    sent = parse_qs(scope["query_string"].decode("latin-1")).get("api_key", [])
    return sent[0] if len(sent) == 1 else None
