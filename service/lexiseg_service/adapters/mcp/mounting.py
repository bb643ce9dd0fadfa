"""/mcp of a gateway: streamable HTTP, without sessions, behind the gateway's own keys and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from mcp.server.mcpserver import Context
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lexiseg_service.adapters.mcp.desk import Desk
from lexiseg_service.adapters.mcp.server import create
from lexiseg_service.gateway.rest.asking import caller_of
from lexiseg_service.gateway.use_case import Caller
from lexiseg_service.settings import Settings

PATH = "/mcp"


def mount(app: FastAPI, settings: Settings) -> None:
    """Adds the path; the protocol's own tasks run while the application does."""
    server = create(Desk(app.state.use_case, settings, settings.mcp_folder), _caller)
    # A loopback address is asked by the pages of a browser, too: the SDK looks at Host and Origin there.
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.limits.max_question_bytes,
        host=settings.host,
    )
    app.router.routes.append(Route(PATH, _Endpoint(inner), methods=None))
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[Any]:
        async with before(running) as state, server.session_manager.run():
            yield state

    app.router.lifespan_context = lifespan


class _Endpoint:
    """The protocol's own application at its one path; an object, so that the router hands it the whole scope."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inner(scope, receive, send)


def _caller(context: Context[Any, Any]) -> Caller:
    request = context.request_context.request
    assert isinstance(request, Request)
    return caller_of(request)
