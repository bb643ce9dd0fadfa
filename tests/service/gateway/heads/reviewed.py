"""A small photograph whose labels are taught to `tiny`."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.masks import rle
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.settings import Settings
from tests import pictures
from tests.once import kept
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.serving import serving
from tests.waiting import SOON

IMAGE = pictures.encoded(pictures.small("china", 96), "JPEG")
SIZE = pictures.small("china", 96).size[::-1]


@kept
def tiny() -> Segmenter:
    return catalogue.load("tiny", device="cpu")


@asynccontextmanager
async def serving_tiny(**settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, EngineBackend]]:
    """A client of a gateway with `tiny`, and its worker."""
    values: dict[str, Any] = {"deadline_seconds": 600, **settings}
    backend = EngineBackend(tiny(), settings=Settings(**values))
    async with serving(backend=backend, model="tiny", **values) as client:
        yield client, backend
    backend.engine.close(SOON)


def mask(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    return {"size": list(pixels.shape), "counts": rle.encode(pixels)}


def upper(rows: int) -> NDArray[np.bool_]:
    """A mask of the picture's upper rows."""
    return np.arange(SIZE[0])[:, None].repeat(SIZE[1], 1) < rows


def picture(*objects: tuple[str | None, NDArray[np.bool_]], key: str = "a") -> dict[str, Any]:
    labelled = [{"class": name, "mask": mask(pixels)} for name, pixels in objects]
    return {"key": key, "image": {"base64": base64.b64encode(IMAGE).decode()}, "objects": labelled}


def sky(key: str = "first") -> dict[str, Any]:
    return picture(("sky", upper(SIZE[0] // 3)), key=key)
