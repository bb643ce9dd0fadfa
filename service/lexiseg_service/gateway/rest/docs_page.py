"""/docs: Swagger UI over our OpenAPI, from files that are installed with us. It asks nobody else for anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from lexiseg_service.gateway.rest.paths import answer_head

PAGE = "/docs"
WEB = Path(__file__).resolve().parents[2] / "web"
SWAGGER_UI = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
ASSETS = (f"{PAGE}/assets/docs.js", *(f"{PAGE}/assets/{name}" for name in SWAGGER_UI))
# Swagger UI styles its elements one by one and draws its icons from data: addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
A_DAY = {"Cache-Control": "public, max-age=86400"}

router = APIRouter(include_in_schema=False)


class Description:
    """What `/openapi.json` says: written once, when somebody asks for it. It takes longer than many a request."""

    def __init__(self, write: Callable[[], dict[str, Any]]) -> None:
        self._write = write
        self._writing = threading.Lock()
        self.written: dict[str, Any] | None = None

    def whole(self) -> dict[str, Any]:
        """The schema; whoever asks while it is written waits for it."""
        with self._writing:
            if self.written is None:
                self.written = self._write()
            return self.written


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The routes as OpenAPI."""
    description: Description = request.app.state.description
    schema = description.written
    if schema is None:
        schema = await asyncio.to_thread(description.whole)
    if root := request.scope.get("root_path", "").rstrip("/"):  # under which a proxy puts the service
        schema = {**schema, "servers": [{"url": root}]}
    return Response(orjson.dumps(schema), media_type="application/json")


@router.get(PAGE)
async def page() -> Response:
    """The interactive documentation."""
    return FileResponse(WEB / "docs.html", media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get(f"{PAGE}/assets/docs.js")
async def start() -> Response:
    """What starts it: ours, so it may change with each version."""
    return FileResponse(WEB / "docs.js", media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def _serve(folder: Path, name: str, kind: str) -> None:
    @router.get(f"{PAGE}/assets/{name}", name=name)
    async def asset() -> Response:
        return FileResponse(folder / name, media_type=kind, headers=A_DAY)


def _swagger_ui() -> Path:
    """Of the package fastapi-offline only the files are wanted: it is found, not imported."""
    package = find_spec("fastapi_offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("fastapi-offline, which carries the files of /docs, is not installed")
    return Path(package.origin).parent / "static"


for _name, _kind in SWAGGER_UI.items():
    _serve(_swagger_ui(), _name, _kind)

answer_head(router)
