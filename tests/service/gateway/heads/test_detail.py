"""A head that sees in detail, from its pictures to an answer."""

import base64

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.model.methods.tiny.test_teaching import striped
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.heads.reviewed import mask, tiny
from tests.waiting import SOON

NAMES = "china", "flower", "chelsea", "coffee", "astronaut"


def encoded(rgb: NDArray[np.uint8]) -> str:
    return base64.b64encode(pictures.encoded(Image.fromarray(rgb))).decode()


async def test_a_head_in_detail_says_its_passes_and_its_features_serve_other_questions() -> None:
    backend = EngineBackend(tiny(), settings=Settings(deadline_seconds=600))
    app = create_app(Settings(deadline_seconds=600), backend, Metrics())
    of_each = [striped(np.array(pictures.photograph(name))) for name in NAMES]
    reviewed = [
        {"key": name, "image": {"base64": encoded(rgb)}, "objects": [{"class": "line", "mask": mask(labels == 0)}]}
        for name, (rgb, labels) in zip(NAMES, of_each, strict=True)
    ]
    rgb, _ = striped(np.array(pictures.photograph("rocket")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        head = (
            await client.post("/v1/heads", json={"name": "lines", "classes": ["line"], "pictures": reviewed})
        ).json()
        asked = (await client.post("/v1/segment", json={"image": {"base64": encoded(rgb)}, "head": "lines"})).json()
        again = (
            await client.post("/v1/segment", json={"image": {"id": asked["image_id"]}, "classes": ["rocket"]})
        ).json()
    backend.engine.close(SOON)

    assert (head["image_passes"], head["classes"][0]["kept"]) == (5, None)
    assert [segment["label"] for segment in asked["segments"]] == ["line"]
    assert again["cache"]["features"]
