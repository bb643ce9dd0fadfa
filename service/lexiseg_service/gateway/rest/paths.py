"""Where the routes answer, and to which methods: under /v1, which stays as it is, and the same without a version."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import Scope

STABLE = "/v1"


def serve(app: FastAPI, router: APIRouter) -> None:
    """Adds a router under both paths; OpenAPI lists the stable one, so that each operation has one id."""
    app.include_router(router, prefix=STABLE)
    app.include_router(router, include_in_schema=False)


def answer_head(router: APIRouter) -> None:
    """HEAD for every path of a router that has GET; the server leaves the body out."""
    for route in [route for route in router.routes if isinstance(route, Route)]:
        if "GET" in (route.methods or ()) and "HEAD" not in (route.methods or ()):
            router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


def path_alone(location: bytes) -> bytes:
    """Where a redirect leads, by its path: which name and scheme we have outside, only the client knows.

    The router makes them of the header `Host`, and of what the last proxy spoke with us: who came by TLS would send his
    key again in the clear.
    """
    parts = urlsplit(location.decode("latin-1"))
    path = "/" + parts.path.lstrip("/")  # two slashes would begin with a host
    return (f"{path}?{parts.query}" if parts.query else path).encode("latin-1")


def methods_of(path: str, routers: Iterable[APIRouter]) -> list[str]:
    """All methods that one of the routers answers at a path, in alphabetical order."""
    plain = path.removeprefix(STABLE)
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    return sorted({method for route in routes if route.path_regex.match(plain) for method in route.methods or ()})


def route_of(scope: Scope) -> str:
    """The route that answered, as metrics and logs name it: `/v1/models/{name}`, not the name that was asked for."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    # Some releases of FastAPI name the route of an included router without the prefix, some with it.
    stable = scope["path"].startswith(f"{STABLE}/") and not path.startswith(f"{STABLE}/")
    return f"{STABLE}{path}" if stable else path
