"""The pages: the playground at /, Swagger UI at /docs, the OpenAPI description that it shows, and /llms.txt for agents.

All files are installed with the package; the pages load nothing from other hosts.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
from importlib.util import find_spec
from pathlib import Path

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from lexiseg_labels.exports import formats
from lexiseg_labels.pictures import COUNT, colour
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.image.samples import SAMPLES, NoSample, photograph

WEB = Path(__file__).resolve().parents[2] / "web"
PLAYGROUND = WEB / "playground"
MASKS = "masks"  # the folder of the kernel
_OWN = [path for path in PLAYGROUND.rglob("*.js") if path.parent.name != "engine"]  # the site's are in that folder
SCRIPTS = ("engine/server.js", *sorted(path.relative_to(PLAYGROUND).as_posix() for path in _OWN))
KERNEL = f"/playground/{MASKS}/kernel.wasm"
WORKER = "painter.js"
ICON = "/playground/icon.svg"
DOCS = "/docs"
FOR_AGENTS = "/llms.txt"  # llmstxt.org
SWAGGER_UI = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def policy_source(content: str) -> str:
    """The source expression by which a page's policy allows a script or a style that is written into it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


# Written into the page: one request less before a visitor sees it.
_STYLE = (PLAYGROUND / "style.css").read_text(encoding="utf-8")
# Pictures are drawn on canvases; no text of a request is written into the page as HTML.
PLAYGROUND_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    f"style-src '{policy_source(_STYLE)}'; "
    "img-src 'self' data: blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Swagger UI sets inline styles and draws its icons from data: URLs.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CURRENT = {"Cache-Control": "no-cache"}  # changes with each version
PLAYGROUND_HEADERS = {
    "Content-Security-Policy": PLAYGROUND_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    **CURRENT,
}
ONE_DAY = {"Cache-Control": "public, max-age=86400"}

FILES = StaticFiles(directory=WEB)

_STYLE_LINK = '<link rel="stylesheet" href="playground/style.css">'
PALETTE = " ".join("#" + bytes(colour(index)).hex() for index in range(COUNT))
_INDEX = (
    (PLAYGROUND / "index.html")
    .read_text(encoding="utf-8")
    .replace(_STYLE_LINK, f"<style>{_STYLE}</style>")
    .replace("{palette}", PALETTE)
)

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The routes as OpenAPI."""
    async with request.app.state.describing:  # the first time it takes about a second
        schema = await asyncio.to_thread(request.app.openapi)
    if root := request.scope.get("root_path", "").rstrip("/"):  # the prefix under which a proxy serves us
        schema = {**schema, "servers": [{"url": root}]}
    return Response(orjson.dumps(schema), media_type="application/json")


@router.get("/")
async def playground_page(request: Request) -> Response:
    """The playground, with the limits that it checks before it sends a picture, and the formats of the export."""
    limits = request.app.state.settings.limits
    folders = {name: each.beside for name, each in formats().items()}  # of pictures, where a format has them
    page = _INDEX.replace("{max_bytes}", str(limits.max_image_bytes)).replace("{max_pixels}", str(limits.max_pixels))
    page = page.replace("{formats}", html.escape(orjson.dumps(folders).decode()))
    return Response(page, media_type="text/html", headers=PLAYGROUND_HEADERS)


def _serve(path: str, file: Path, media_type: str, headers: dict[str, str]) -> None:
    @router.get(path, name=file.name)
    async def answer(request: Request) -> Response:
        response = FileResponse(file, headers=headers, media_type=media_type, stat_result=file.stat())
        is_current = FILES.is_not_modified(response.headers, request.headers)
        return NotModifiedResponse(response.headers) if is_current else response


def _serve_photograph(name: str) -> None:
    @router.get(f"/playground/{name}", name=name)
    def answer() -> Response:
        try:
            return Response(photograph(name), media_type="image/jpeg", headers=ONE_DAY)
        except NoSample:  # the package that contains it is not installed
            return Response(status_code=404)


def _swagger_ui() -> Path:
    """The folder of Swagger UI's files in the package fastapi-offline, which is not imported."""
    package = find_spec("fastapi_offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("fastapi-offline, which contains the files of /docs, is not installed")
    return Path(package.origin).parent / "static"


_serve(DOCS, WEB / "docs.html", "text/html", {"Content-Security-Policy": DOCS_POLICY})
_serve(FOR_AGENTS, WEB / "llms.txt", "text/plain; charset=utf-8", CURRENT)
for _name in SAMPLES:
    _serve_photograph(_name)
_serve(ICON, PLAYGROUND / "icon.svg", "image/svg+xml", ONE_DAY)
for _name in SCRIPTS:  # a worker obeys the policy of its own response, other scripts that of the page
    _headers = PLAYGROUND_HEADERS if _name == WORKER else CURRENT
    _serve(f"/playground/{_name}", PLAYGROUND / _name, "text/javascript", _headers)
_serve(KERNEL, PLAYGROUND / MASKS / "kernel.wasm", "application/wasm", CURRENT)
_serve(f"{DOCS}/assets/docs.js", WEB / "docs.js", "text/javascript", CURRENT)
for _name, _type in SWAGGER_UI.items():
    _serve(f"{DOCS}/assets/{_name}", _swagger_ui() / _name, _type, ONE_DAY)

answer_head(router)
# They need no API key: a browser cannot send one with a page.
PATHS = frozenset(route.path for route in router.routes if isinstance(route, Route))
