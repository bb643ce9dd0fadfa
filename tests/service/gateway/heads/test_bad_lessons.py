"""Labels that teach little or nothing, taught to `tiny`: each is taken, or refused in a sentence with nothing lost."""

import asyncio
import base64
import io
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.masks import rle
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.vocabulary.heads import Lesson
from lexiseg_service.settings import Settings
from tests import pictures
from tests.model.methods.tiny.test_teaching import striped
from tests.once import kept
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.serving import ANN, BOB, KEYS, serving
from tests.waiting import SOON

FILE = {"Content-Type": "application/octet-stream"}
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


@pytest.fixture
async def taught() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with `tiny`, which has the head `views` of one picture."""
    async with serving_tiny() as (client, _):
        made = await client.post("/v1/heads", json={"name": "views", "classes": ["sky"], "pictures": [sky()]})
        assert made.status_code == 201, made.text
        yield client


async def test_two_classes_of_one_picture_alone_are_taught_and_the_answer_asks_for_more(
    taught: httpx.AsyncClient,
) -> None:
    both = picture(("sky", upper(SIZE[0] // 3)), ("trees", ~upper(SIZE[0] // 2)))

    made = await taught.post("/v1/heads", json={"name": "both", "classes": ["sky", "trees"], "pictures": [both]})
    asked = await taught.post("/v1/segment", files={"image": IMAGE}, data={"head": "both", "classes": "person"})

    assert made.status_code == 201, made.text
    assert [(entry["pictures"], entry["wants"] > 0) for entry in made.json()["classes"]] == [(1, True)] * 2
    assert {entry["iou_taught"] for entry in made.json()["classes"]} == {None}
    assert [warning["type"] for warning in made.json()["warnings"]] == ["few-pictures"]
    assert {"sky", "trees"} <= {segment["label"] for segment in asked.json()["segments"]}


async def test_a_class_of_all_pixels_is_taught(taught: httpx.AsyncClient) -> None:
    whole = await taught.put("/v1/heads/views", json={"pictures": [picture(("sky", upper(SIZE[0])))]})
    asked = await taught.post("/v1/segment", files={"image": IMAGE}, data={"head": "views"})

    assert (whole.status_code, asked.status_code) == (200, 200)
    assert whole.json()["classes"][0]["pictures"] == 2


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an empty mask": (
        picture(("sky", upper(0))),
        "pictures: 'third'.objects.0: expected a region with at least one pixel, got 'an empty mask'",
    ),
    "a mask of another size": (
        picture(("sky", np.ones((3, 3), np.bool_))),
        "pictures: 'third'.objects.0",
    ),
    "pixels that are all unknown": (
        picture((None, upper(SIZE[0]))),
        "pictures: 'third'.objects.0: nothing in the picture is labelled; expected pixels that are not unknown",
    ),
    "a damaged picture": (
        {**sky(), "image": {"base64": base64.b64encode(IMAGE[:200]).decode()}},
        "pictures: 'third'.image: begins like JPEG",
    ),
}


async def test_labels_that_teach_nothing_are_refused_and_the_head_stays(taught: httpx.AsyncClient) -> None:
    before = (await taught.get("/v1/heads/views")).json()
    answers = {
        case: await taught.put("/v1/heads/views", json={"pictures": [sky("second"), {**labelled, "key": "third"}]})
        for case, (labelled, _) in REFUSED.items()
    }

    assert all(400 <= answer.status_code < 500 for answer in answers.values())
    for case, (_, sentence) in REFUSED.items():
        assert sentence in answers[case].json()["detail"]
    assert (await taught.get("/v1/heads/views")).json() == before


def wider(part: NDArray[np.float16] | None) -> NDArray[np.float16]:
    assert part is not None
    return np.pad(part, ((0, 0), (0, 300)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda lesson: {"cells": np.full_like(lesson.cells, np.inf)},
            "body: picture 'first': expected a lesson, got one of other arrays (cells: expected finite numbers)",
        ),
        (lambda lesson: {"cells": wider(lesson.cells)}, "expected 249, as of the head's model, got 'lessons of 549"),
        (lambda lesson: {"detail": wider(lesson.detail)}, "expected 283, as of the head's model, got 'lessons of 583"),
    ],
    ids=["infinite", "of another width", "of another width in detail"],
)
async def test_an_export_of_hostile_numbers_is_refused_and_nothing_is_kept(
    taught: httpx.AsyncClient, change: Callable[[Lesson], dict[str, Any]], reason: str
) -> None:
    file, hostile = (await taught.get("/v1/heads/views?export=1")).content, io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as whole, zipfile.ZipFile(hostile, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            if name.startswith("lessons/"):
                lesson = Lesson.from_bytes(content)
                content = replace(lesson, **change(lesson)).to_bytes()
            changed.writestr(name, content)

    answer = await taught.put("/v1/heads/hostile", content=hostile.getvalue(), headers=FILE)

    assert (answer.status_code, answer.json()["type"]) == (422, "invalid-value")
    assert reason in answer.json()["detail"]
    assert [head["name"] for head in (await taught.get("/v1/heads")).json()["heads"]] == ["views"]


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


async def test_many_pictures_wait_for_their_turn_and_hold_up_no_other_client() -> None:
    reviewed = [sky(str(number)) for number in range(12)]
    async with serving_tiny(queue_limit=1, api_keys=KEYS) as (client, backend):
        teaching = asyncio.create_task(
            client.post("/v1/heads", json={"name": "views", "classes": ["sky"], "pictures": reviewed}, headers=ANN)
        )
        while not backend.engine.in_flight:
            await asyncio.sleep(0.001)
        other = await client.post("/v1/segment", files={"image": IMAGE}, data={"classes": "sky"}, headers=BOB)
        was_teaching = not teaching.done()
        made = await teaching

    assert (other.status_code, was_teaching) == (200, True)
    assert (made.status_code, made.json()["pictures"]) == (201, 12)
