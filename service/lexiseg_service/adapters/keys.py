"""API keys of other tools, moved to the header that the guard reads. Plain ASGI."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lexiseg_service.gateway.admission.keys import key_of

PATHS = ("/adapters/", "/v2")


class KeysOfTools:
    """Add `X-API-Key` to a tool's request that has its key elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PATHS):
            headers = Headers(scope=scope)
            if key_of(headers.get("authorization"), headers.get("x-api-key")) is None and (key := _key_of_tool(scope)):
                # latin-1 is what headers are; no key of ours has anything else.
                added = (b"x-api-key", key.encode("latin-1", "replace"))
                scope = {**scope, "headers": [*(pair for pair in scope["headers"] if pair[0] != added[0]), added]}
        await self._app(scope, receive, send)


def _key_of_tool(scope: Scope) -> str | None:
    """`Token: KEY` (X-AnyLabeling), the password of HTTP's Basic (Label Studio), or `?api_key=KEY` (Roboflow)."""
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
