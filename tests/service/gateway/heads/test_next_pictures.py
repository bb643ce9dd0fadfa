"""Which pictures to label next: `POST /v1/heads/{name}/next`."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_model.masks.encodings import to_png
from lexiseg_service.errors import ImageExpired
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests import pictures
from tests.service.batch.http.asking import zipped
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.service.gateway.serving import serving

HEAD = {
    "name": "mugs",
    "classes": ["mug", "sky"],
    "pictures": [{"image": {"id": "0" * 32}, "objects": [{"class": "mug", "box": [0, 0, 2, 2]}]}],
}
SURE, HALF, TORN = (f"{number:032}" for number in (1, 2, 3))
CONFIDENCE = {SURE: [255] * 4, HALF: [255, 255, 128, 128], TORN: [128] * 4}


@dataclass
class Unsure(KnownBackend):
    """Is as certain of a picture's pixels as CONFIDENCE; finds `sky`, a class without pictures, in `skies`."""

    skies: set[str] = field(default_factory=set)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        if request.image_id not in CONFIDENCE and request.image is None:
            raise ImageExpired(f"image.id: nothing is kept of {request.image_id!r}; send the image again")
        confidence = to_png(np.array([CONFIDENCE.get(str(request.image_id), [128] * 4)], np.uint8))
        segments = answer().segments if request.image_id in self.skies else ()
        return replace(answer(), image_id=str(request.image_id), confidence=confidence, segments=segments)


async def asked(backend: Unsure, **content: Any) -> httpx.Response:
    async with serving(backend=backend) as client:
        assert (await client.post("/v1/heads", json=HEAD)).status_code == 201
        return await client.post("/v1/heads/mugs/next", **content)


def images(*ids: str) -> dict[str, Any]:
    return {"images": [{"id": each} for each in ids]}


@pytest.mark.parametrize(
    ("skies", "order"), [(set(), [TORN, HALF, SURE]), ({SURE}, [SURE, TORN, HALF])], ids=["entropy", "unseen class"]
)
async def test_pictures_come_in_the_order_in_which_labelling_them_helps(skies: set[str], order: list[str]) -> None:
    backend = Unsure(skies=skies)

    found = await asked(backend, json=images(SURE, TORN, HALF))

    assert found.status_code == 200, found.text
    assert found.json()["keys"] == order
    entropy = dict(zip(order, found.json()["entropy"], strict=True))
    assert (entropy[SURE], entropy[HALF], entropy[TORN]) == (
        0,
        pytest.approx(0.5, abs=0.01),
        pytest.approx(1, abs=0.01),
    )
    assert all(len(request.vocabulary.classes) == 2 for request in backend.asked if request.confidence)


def archive(name: str, content: bytes) -> dict[str, Any]:
    return {"files": {"archive": ("set.zip", zipped({name: content}))}, "data": {"request": "{}"}}


async def test_pictures_of_an_archive_have_their_names_and_images_come_with_them() -> None:
    photograph = pictures.encoded(pictures.small("china", 96), "JPEG")
    form = archive("a.jpg", photograph) | {"data": {"request": json.dumps(images(SURE))}}

    found = await asked(Unsure(), **form)

    assert (found.status_code, found.json().get("keys")) == (200, ["a.jpg", SURE])


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        ({"json": images()}, 422, "images: expected 1 to 500"),
        ({"json": images(*[SURE] * 501)}, 422, "images: expected 1 to 500"),
        ({"json": {"images": [{}]}}, 422, "images.0: expected exactly"),
        ({"json": images(SURE, "f" * 32)}, 404, "images.1.id: nothing is kept"),
        (archive("notes.txt", b"none"), 422, "images: expected 1 to 500"),
        (archive("a.jpg", b"none"), 415, "archive: 'a.jpg'"),
        (archive("a.jpg", bytes(21 * 2**20)), 422, "archive: 'a.jpg': expected a smaller picture"),
    ],
    ids=["none", "too many", "empty", "expired", "no picture", "damaged", "too large"],
)
async def test_what_cannot_be_ordered_is_refused_in_a_sentence(
    content: dict[str, Any], status: int, detail: str
) -> None:
    refused = await asked(Unsure(), **content)

    assert (refused.status_code, refused.json()["detail"][: len(detail)]) == (status, detail)
