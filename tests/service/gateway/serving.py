"""The real application with settings of a test's own, asked without a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend

IMAGE: list[Any] = [("image", ("a.png", pictures.encoded(pictures.small())))]


@asynccontextmanager
async def serving(
    *, backend: KnownBackend | None = None, client_limits: ClientLimits | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway of its own."""
    app = create_app(Settings(model="colours", **settings), backend or KnownBackend(), Metrics(), client_limits)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


def form(*classes: str, **fields: str) -> list[Any]:
    """Multipart parts of a question about a small image."""
    parts = [*IMAGE, *(("classes", (None, name)) for name in classes)]
    return parts + [(name, (None, value)) for name, value in fields.items()]
