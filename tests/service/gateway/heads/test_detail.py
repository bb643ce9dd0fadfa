"""A head that sees in detail, from its pictures to an answer."""

import base64

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests import pictures
from tests.model.methods.tiny.test_teaching import striped
from tests.service.gateway.heads.reviewed import mask, serving_tiny

NAMES = "china", "flower", "chelsea", "coffee", "astronaut"


def encoded(rgb: NDArray[np.uint8]) -> str:
    return base64.b64encode(pictures.encoded(Image.fromarray(rgb))).decode()


async def test_a_head_in_detail_says_its_passes_and_its_features_serve_other_questions() -> None:
    of_each = [striped(np.array(pictures.photograph(name))) for name in NAMES]
    reviewed = [
        {"key": name, "image": {"base64": encoded(rgb)}, "objects": [{"class": "line", "mask": mask(labels == 0)}]}
        for name, (rgb, labels) in zip(NAMES, of_each, strict=True)
    ]
    rgb, _ = striped(np.array(pictures.photograph("rocket")))
    async with serving_tiny() as (client, _):
        head = (
            await client.post("/v1/heads", json={"name": "lines", "classes": ["line"], "pictures": reviewed})
        ).json()
        asked = (await client.post("/v1/segment", json={"image": {"base64": encoded(rgb)}, "head": "lines"})).json()
        again = (
            await client.post("/v1/segment", json={"image": {"id": asked["image_id"]}, "classes": ["rocket"]})
        ).json()

    assert (head["image_passes"], head["classes"][0]["kept"]) == (5, None)
    assert [segment["label"] for segment in asked["segments"]] == ["line"]
    assert again["cache"]["features"]
