"""The paths of the routes: under /v1, which is stable, and the same without a version."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import Scope

STABLE = "/v1"


def serve(app: FastAPI, router: APIRouter) -> None:
    """Add a router under both paths; OpenAPI lists the stable one, so that each operation has one id."""
    app.include_router(router, prefix=STABLE)
    app.include_router(router, include_in_schema=False)


def answer_head(router: APIRouter) -> None:
    """Add HEAD to every path of a router that has GET; uvicorn leaves out the body."""
    for route in [route for route in router.routes if isinstance(route, Route)]:
        if "GET" in (route.methods or ()) and "HEAD" not in (route.methods or ()):
            router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


def path_only(location: bytes) -> bytes:
    """The target of a redirect without scheme and host.

    The router takes the scheme of the last proxy's connection: a client that came by TLS would send its key again in
    the clear.
    """
    parts = urlsplit(location.decode("latin-1"))
    path = "/" + parts.path.lstrip("/")  # two slashes would start a host
    return (f"{path}?{parts.query}" if parts.query else path).encode("latin-1")


def methods_of(path: str, routers: Iterable[APIRouter]) -> list[str]:
    """All methods that the routers answer at a path, in alphabetical order."""
    plain = path.removeprefix(STABLE)
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    return sorted({method for route in routes if route.path_regex.match(plain) for method in route.methods or ()})


def route_of(scope: Scope) -> str:
    """The route that answered, for metrics and logs: `/v1/models/{name}`, without the requested name."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    # Some releases of FastAPI name the route of an included router without the prefix, some with it.
    stable = scope["path"].startswith(f"{STABLE}/") and not path.startswith(f"{STABLE}/")
    return f"{STABLE}{path}" if stable else path
