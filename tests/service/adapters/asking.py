"""Every adapter of the gateway over a real engine, asked without a socket."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
from PIL import Image

from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry, Task
from lexiseg_service.batch.http.jobs import Jobs
from lexiseg_service.entry_points import ADAPTERS, entry_points_of
from lexiseg_service.gateway.adapter import install
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.model.stand_in import COLOURS, ColourSegmenter, picture
from tests.service.engine_backend import EngineBackend
from tests.waiting import SOON

TASKS: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")
CELL = 8  # pixels
ROWS = ["rrkkbb", "rrkkbb", "kkkkkk"]
HEIGHT, WIDTH = CELL * len(ROWS), CELL * len(ROWS[0])
SQUARE = 4 * CELL**2  # pixels of a region
PICTURE = pictures.encoded(Image.fromarray(np.kron(picture(ROWS), np.ones((CELL, CELL, 1), np.uint8))))
IN_TEXT = base64.b64encode(PICTURE).decode()
DATA_URI = f"data:image/png;base64,{IN_TEXT}"


class Colours(ColourSegmenter):
    """Knows the names of its colours; what crimson and the like mark is a guess."""

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        return [Unfamiliar(k, "red", 0.3, 0.6) for k, entry in enumerate(classes) if not {*COLOURS} & {*entry.texts}]


@asynccontextmanager
async def adapted(*names: str, **values: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with adapters, all of them where none is named."""
    settings = Settings(model="colours", adapters=names or tuple(entry_points_of(ADAPTERS)), **values)
    engine = EngineBackend(Colours(tasks=TASKS))
    app = create_app(settings, engine, Metrics())
    install(app, settings.adapters)
    jobs: Jobs | None = app.state.parts["jobs"]
    try:
        if jobs is not None:
            await jobs.start()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            yield client
    finally:
        if jobs is not None:
            await jobs.close()
        engine.engine.close(SOON)
