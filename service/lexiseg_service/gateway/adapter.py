"""Protocols of other tools, which join a gateway.

An adapter of another distribution is a function that an entry point of the group `lexiseg.adapters` names:

    [project.entry-points."lexiseg.adapters"]
    acme = "acme_lexiseg:adapter"

    router = APIRouter()

    @router.post("/predict")                        # POST /adapters/acme/predict, where LEXISEG_ADAPTERS has acme
    async def predict(request: Request) -> Response: ...

    def adapter(app: FastAPI) -> Adapter:
        return Adapter([router])

`lexiseg_service.adapters.tools` asks as `POST /segment` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from lexiseg_service.gateway.rpc.server import MoreService


@dataclass(frozen=True)
class Adapter:
    """Hooks into a gateway; all are optional.

    Attributes:
        routers: routes below /adapters/NAME; those of a router with a prefix of its own keep their paths. OpenAPI does
            not list them: they are interfaces of other tools.
        middleware: ASGI middleware around the whole application.
        services: on the gateway's gRPC server, under the same keys and limits.
        running: entered when the workers can be asked, left when no request is in flight.
    """

    routers: Sequence[APIRouter] = ()
    middleware: Callable[[ASGIApp], ASGIApp] | None = None
    services: Sequence[MoreService] = ()
    running: AbstractAsyncContextManager[object] | None = None


# Called once, before the gateway starts. `app.state` has its `settings`, `use_case`, `metrics` and `parts`.
Adapt = Callable[[FastAPI], Adapter]


def join(app: FastAPI, adapter: Adapter, prefix: str = "") -> None:
    """Add an adapter to a gateway that has not started; routers without a prefix of their own get `prefix`."""
    for router in adapter.routers:
        app.include_router(router, prefix="" if router.prefix else prefix, include_in_schema=False)
    if adapter.middleware is not None:
        app.add_middleware(adapter.middleware)
    app.state.more_services.extend(adapter.services)
    if adapter.running is not None:
        app.state.adapters.append(adapter.running)
