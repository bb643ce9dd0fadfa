"""The paths of the routes: under /v1, which is stable, and the same without a version."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.routing import Route

STABLE = "/v1"
ADAPTERS = "/adapters"  # the page of other tools' addresses; below it, their routes


def serve(served: APIRouter, router: APIRouter) -> None:
    """Add a router under both paths; OpenAPI lists the stable one, so that each operation has one id."""
    served.include_router(router, prefix=STABLE)
    served.include_router(router, include_in_schema=False)


def answer_head(router: APIRouter) -> None:
    """Add HEAD to every path of a router that has GET; uvicorn leaves out the body."""
    for route in [route for route in router.routes if isinstance(route, Route)]:
        if "GET" in (route.methods or ()) and "HEAD" not in (route.methods or ()):
            router.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


def methods_of(path: str, routers: Iterable[APIRouter]) -> list[str]:
    """All methods that the routers answer at a path, in alphabetical order."""
    plain = path.removeprefix(STABLE)
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    return sorted({method for route in routes if route.path_regex.match(plain) for method in route.methods or ()})
