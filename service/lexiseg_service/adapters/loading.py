"""Add the adapters that the settings name to an application."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from fastapi import APIRouter, FastAPI

from lexiseg_service.adapters.keys import KeysOfTools
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

PREFIX = "/adapters"
OVER_GRPC = ("kserve",)  # adapters with a gRPC service, too


def install(app: FastAPI, settings: Settings) -> None:
    """Add routes and gRPC services of the adapters that are switched on; modules of the others are not imported.

    Below /adapters/NAME, but for an adapter that says its own prefix. They are other tools' interfaces and none of
    ours, so OpenAPI lists none of them.

    Raises:
        InvalidValue: what an adapter needs is not installed.
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
        if name in OVER_GRPC:
            app.state.more_services.append(module.service(app, settings))
    if settings.adapters:
        app.add_middleware(KeysOfTools)


def require_sdk() -> None:
    """Check the library of the adapter `mcp`, the only one that needs one.

    Raises:
        InvalidValue: it is not installed.
    """
    if find_spec("mcp") is None:
        raise InvalidValue("MCP needs the SDK of the Model Context Protocol: pip install mcp")
