"""The playground at /: a page of our own files, which asks this service and nobody else."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from lexiseg_service.gateway.rest.docs_page import WEB
from lexiseg_service.gateway.rest.paths import answer_head
from lexiseg_service.image.samples import NoSample, photograph

FOLDER = WEB / "playground"
SCRIPTS = tuple(sorted(path.name for path in FOLDER.glob("*.js")))
SAMPLE = "/playground/sample.jpg"
FILES = (*(f"/playground/{name}" for name in (*SCRIPTS, "style.css")), SAMPLE)
# Nothing comes from elsewhere and nothing is written into the page; pictures are drawn on canvases.
POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {
    "Content-Security-Policy": POLICY,
    # The camera is the visitor's own choice; everything else that a page may ask for stays shut.
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # ours, so they may change with each version
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """The page."""
    return FileResponse(FOLDER / "index.html", media_type="text/html", headers=SAFE)


@router.get(SAMPLE)
def sample() -> Response:
    """A photograph to begin with, where an installed package brings one."""
    try:
        return Response(photograph("china.jpg"), media_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})
    except NoSample:
        return Response(status_code=404)


def _serve(name: str, kind: str) -> None:
    @router.get(f"/playground/{name}", name=name)
    async def file() -> Response:
        return FileResponse(FOLDER / name, media_type=kind, headers=SAFE)


for _name in SCRIPTS:
    _serve(_name, "text/javascript")
_serve("style.css", "text/css")

answer_head(router)
