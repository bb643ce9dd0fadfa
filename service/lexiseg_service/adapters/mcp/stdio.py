"""`lexiseg mcp`: the tools over standard input and output, with a model in this process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from lexiseg_service.adapters.mcp.desk import Desk
from lexiseg_service.adapters.mcp.server import create
from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.state import open_vocabularies
from lexiseg_service.gateway.use_case import Caller, UseCase
from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

OF_ONE = Caller(client="stdio")
POLL_SECONDS = 0.05


async def talk(settings: Settings, backend: Backend, metrics: Metrics, folder: Path) -> None:
    """Answers until the standard input ends. Nothing is said before the model is ready.

    Raises:
        NotReady: the model cannot be loaded.
    """
    vocabularies = open_vocabularies(settings, metrics)
    fetcher = UrlFetcher(settings.limits.max_image_bytes) if settings.url_fetch else None
    server = create(Desk(UseCase(backend, vocabularies, settings, fetcher), settings, folder), lambda _: OF_ONE)
    await vocabularies.store.start()
    await backend.start()
    try:
        while not (health := backend.health()).ready:
            if not health.alive:
                raise NotReady(health.detail)
            await asyncio.sleep(POLL_SECONDS)
        with suppress(asyncio.CancelledError):
            await server.run_stdio_async()
    finally:
        await backend.close()
        await vocabularies.store.close()
