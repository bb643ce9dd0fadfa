"""Protocols of other tools, which join a gateway.

An adapter of another distribution is a function that an entry point of the group `lexiseg.adapters` names:

    [project.entry-points."lexiseg.adapters"]
    acme = "acme_lexiseg:adapter"

    router = APIRouter()

    @router.post("/predict")                        # POST /adapters/acme/predict, where LEXISEG_ADAPTERS has acme
    async def predict(request: Request) -> Response: ...

    def adapter(app: FastAPI) -> Adapter:
        return Adapter([router], use="acme --server ADDRESS")

`lexiseg_service.adapters.tools` asks as `POST /segment` does.
"""

from __future__ import annotations

import base64
import binascii
import html
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lexiseg_service.entry_points import ADAPTERS, EntryPointError, entry_points_of, load
from lexiseg_service.gateway.admission.access import key_of
from lexiseg_service.gateway.rest.middleware import ForPaths
from lexiseg_service.gateway.rest.paths import ADAPTERS as PREFIX
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.gateway.rest.routes import as_json

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ROW = "<tr><td>{name}<td><code>{address}</code><td><code>{use}</code>"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>lexiseg: other tools</title>
<h1>Other tools</h1>
<p>LEXISEG_ADAPTERS names them. Where keys are set, a tool's own key is one of them.
<table border="1" cellpadding="6"><tr><th>tool<th>address<th>use
"""
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Adapter:
    """Hooks into a gateway; all are optional.

    Attributes:
        routers: routes below /adapters/NAME; routes of a router with a prefix of its own keep their paths. OpenAPI does
            not list them: they are interfaces of other tools.
        middleware: ASGI middleware around the whole application, for requests to the paths of its routes.
        running: entered when the workers can be asked, left when no request is in flight.
        use: how the tool is given its address, in one line, for the page /adapters; ADDRESS in it stands for the URL.
    """

    routers: Sequence[APIRouter] = ()
    middleware: Callable[[ASGIApp], ASGIApp] | None = None
    running: AbstractAsyncContextManager[object] | None = None
    use: str = ""


class Joined(NamedTuple):
    """An adapter of a gateway; `path` is the prefix of its first routes."""

    name: str
    path: str
    adapter: Adapter


# Called once, before the gateway starts. `app.state` has its `settings`, `use_case`, `metrics` and `parts`.
Adapt = Callable[[FastAPI], Adapter]


def install(app: FastAPI, names: Sequence[str]) -> None:
    """Add installed adapters, and the page of their addresses, to a gateway that has not started.

    Modules of the others are not imported.
    """
    paths: list[str] = []
    for name in names:
        point = entry_points_of(ADAPTERS)[name]
        adapt: Adapt = load(point, f"adapter {name}")
        adapter = adapt(app)
        if not isinstance(adapter, Adapter):
            kind = type(adapter).__name__
            raise EntryPointError(f"adapter {name}: expected {point.value} to return an Adapter, got {kind}")
        prefixes = []
        for each in adapter.routers:
            app.include_router(each, prefix="" if each.prefix else f"{PREFIX}/{name}", include_in_schema=False)
            prefixes.append(each.prefix or f"{PREFIX}/{name}")
        if adapter.middleware is not None:
            app.add_middleware(ForPaths, middleware=adapter.middleware, prefixes=tuple(prefixes))
        app.state.adapters.append(Joined(name, next(iter(prefixes), ""), adapter))
        paths += prefixes
    app.include_router(router)
    if paths:
        app.add_middleware(ForPaths, middleware=KeysOfTools, prefixes=tuple(paths))


class KeysOfTools:
    """ASGI middleware: copies an API key from where a tool sends it to `X-API-Key`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
    keys = parse_qs(scope["query_string"].decode("latin-1")).get("api_key", [])
    return keys[0] if len(keys) == 1 else None


@router.get(PREFIX)
async def addresses(request: Request) -> Response:
    """HTML where the client takes it, as browsers do; else {"adapters": [{"name", "address", "use"}]}. Needs no key."""
    base = str(request.base_url).rstrip("/")  # at which this service was asked
    adapters = [
        {"name": each.name, "address": base + each.path, "use": each.adapter.use.replace("ADDRESS", base + each.path)}
        for each in request.app.state.adapters
    ]
    if "text/html" not in request.headers.get("accept", ""):
        answer = as_json({"adapters": adapters})
    else:
        rows = (ROW.format(**{name: html.escape(text) for name, text in each.items()}) for each in adapters)
        answer = Response(PAGE + "\n".join(rows) + "\n</table></html>\n", media_type="text/html")
        answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["Vary"] = "Accept"
    return answer


answer_head(router)
