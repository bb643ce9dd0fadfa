"""Add the adapters that the settings name to an application, and read API keys where their tools send them."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lexiseg_service.entry_points import ADAPTERS, EntryPointError, entry_points_of, load
from lexiseg_service.gateway.adapter import Adapter, join
from lexiseg_service.gateway.admission.keys import key_of
from lexiseg_service.settings import Settings

PREFIX = "/adapters"
PATHS = ("/adapters/", "/api/function", "/v2")  # prefixes of all adapters' routes


def install(app: FastAPI, settings: Settings) -> None:
    """Add the enabled adapters, which the settings have found installed; modules of the others are not imported.

    Raises:
        EntryPointError: one cannot be loaded, or is no adapter.
    """
    for name in settings.adapters:
        point = entry_points_of(ADAPTERS)[name]
        adapter = load(point, f"adapter {name}")(app)
        if not isinstance(adapter, Adapter):
            kind = type(adapter).__name__
            raise EntryPointError(f"adapter {name}: expected {point.value} to return an Adapter, got {kind}")
        join(app, adapter, f"{PREFIX}/{name}")
    if settings.adapters:
        app.add_middleware(KeysOfTools)


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
