"""The client against a real server."""

import asyncio
import gc
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import (
    AsyncClient,
    Background,
    Class,
    Client,
    NotFound,
    PreconditionFailed,
    Segmentation,
    UndecodableImage,
    UnusableImage,
    Vocabulary,
)
from tests import coco, pictures
from tests.clients.spies import Spy
from tests.integration.server import Server

CHINA = pictures.photograph("china")
JPEG = pictures.encoded(CHINA, "JPEG")
CLASSES = ["sky", "building", "tree"]


def test_a_path_and_words_give_masks(client: Client, tmp_path: Path) -> None:
    (tmp_path / "china.jpg").write_bytes(JPEG)

    result = client.segment(str(tmp_path / "china.jpg"), classes=CLASSES)

    assert result.size == (427, 640)
    assert [segment.label for segment in result.segments] == CLASSES
    for index, segment in enumerate(result.segments):
        assert segment.mask.dtype == np.bool_
        assert segment.mask.shape == (427, 640)
        assert segment.area == np.count_nonzero(segment.mask)
        assert segment.rle is not None
        assert np.array_equal(segment.mask, coco.decode(segment.rle))
        left, top, right, bottom = segment.xyxy
        assert segment.mask[top:bottom, left:right].sum() == segment.area
        assert segment.class_index == index
        assert 0 < segment.score <= 1
    assert result.model == "tiny"
    assert result.timings_ms.total > 0


def test_all_forms_of_a_mask_are_the_same_mask(client: Client) -> None:
    first, *others = (client.segment(JPEG, CLASSES, mask=form) for form in ("rle", "polygon", "png"))

    assert set(np.unique(first.label_map)) == {0, 1, 2, 3}
    for other in others:
        assert np.array_equal(first.label_map, other.label_map)
        assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first, other, strict=True))


def test_every_option_reaches_the_server(client: Client) -> None:
    result = client.segment(
        JPEG,
        [Class("sky", ["heaven"]), Class("pagoda", ["temple", "building"], 0.2)],
        task="semantic",
        model="tiny@1",
        background=Background(words=["tree", "water"], threshold=0.2),
        threshold=0.1,
        refine="pamr",
        max_side=320,
        overlay=True,
        confidence=True,
    )

    assert {segment.label for segment in result} == {"sky", "pagoda"}
    assert all(segment.score >= 0.1 for segment in result)
    assert result.overlay is not None
    with Image.open(io.BytesIO(result.overlay)) as picture:
        assert picture.size == (640, 427)
    assert result.confidence is not None
    assert result.confidence.dtype == np.float32
    assert result.confidence.shape == (427, 640)
    assert 0 <= result.confidence.min() < result.confidence.max() <= 1


def test_a_wrong_question_is_refused_before_it_is_sent(server: Server) -> None:
    spy = Spy()
    with spy.http() as http, Client(server.url, http=http) as client:
        with pytest.raises(TypeError, match=r'did you mean \["cat", "dog"\]\?'):
            client.segment(JPEG, "cat, dog")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unknown option: treshold"):
            client.segment(JPEG, ["cat"], treshold=0.3)  # type: ignore[call-arg]

    assert spy.seen == []


def test_models_and_health_are_told(client: Client) -> None:
    (tiny,) = (model for model in client.models() if model.name == "tiny")

    assert client.model("tiny@1") == tiny
    assert (tiny.loaded, "semantic" in tiny.tasks) == (True, True)
    assert tiny.card["weights_sha256"]
    assert client.wait_until_ready().ready
    assert client.health().alive


SIDES = (64, 72, 80, 88, 96, 104)
IMAGES = [pictures.encoded(pictures.small("china", side), "JPEG") for side in SIDES]


def test_answers_come_in_the_order_of_the_images(client: Client) -> None:
    told: list[tuple[int, int | None]] = []

    answers = list(client.map(IMAGES, ["sky"], concurrency=3, progress=lambda *so_far: told.append(so_far)))

    assert [max(answer.size) for answer in answers] == list(SIDES)
    assert told == [(done, 6) for done in range(1, 7)]


def test_images_are_taken_as_they_are_needed(client: Client) -> None:
    taken: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield IMAGES[0]

    answers = client.map(endless(), ["sky"], concurrency=2)
    assert not taken
    next(answers)
    answers.close()

    assert len(taken) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lexiseg-map")]


def test_the_first_failure_ends_it_unless_failures_are_returned(client: Client, tmp_path: Path) -> None:
    images: list[Any] = [IMAGES[0], b"\xff\xd8\xff nothing", str(tmp_path / "gone.jpg"), tmp_path, IMAGES[1]]

    with pytest.raises(UndecodableImage):
        list(client.map(images, ["sky"]))
    outcomes = list(client.map(images, ["sky"], on_error="return"))

    kinds = [Segmentation, UndecodableImage, FileNotFoundError, UnusableImage, Segmentation]
    assert [type(outcome) for outcome in outcomes] == kinds


async def test_an_event_loop_does_the_same(server: Server) -> None:
    images = [*IMAGES, b"\xff\xd8\xff nothing"]
    async with AsyncClient(server.url) as client:
        outcomes = [
            outcome async for outcome in client.map(images, ["sky"], concurrency=2, on_error="return", progress=False)
        ]
        with pytest.raises(UndecodableImage):
            _ = [outcome async for outcome in client.map(images, ["sky"])]

    assert [max(answer.size) for answer in outcomes if isinstance(answer, Segmentation)] == list(SIDES)
    assert isinstance(outcomes[-1], UndecodableImage)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of the loop that ended before the client was closed
def test_one_client_serves_one_event_loop_after_the_other(server: Server) -> None:
    client = AsyncClient(server.url)

    answers = [asyncio.run(client.segment(IMAGES[0], ["sky"])) for _ in range(2)]
    asyncio.run(client.aclose())
    gc.collect()  # here, where it may be said, and not in a later test

    assert answers[0].image_id == answers[1].image_id


ROOM: list[str | Class] = ["floor", Class("sofa", ("couch",), 0.3), Class("lamp", gloss="a source of light")]


@pytest.fixture
def room(client: Client) -> Iterator[Vocabulary]:
    yield client.vocabularies.put("room", ROOM, background=Background(0.4, ("wall",)), source="our survey")
    if any(entry.name == "room" for entry in client.vocabularies.list()):
        client.vocabularies.delete("room")


def test_a_list_comes_back_as_it_was_put(client: Client, room: Vocabulary) -> None:
    found = client.vocabularies.get("room")

    assert found == room
    assert found.classes == (Class("floor"), *ROOM[1:])
    assert (found.background, found.source, found.built_in) == (Background(0.4, ("wall",)), "our survey", False)


def test_nobody_overwrites_what_has_changed_since(client: Client, room: Vocabulary) -> None:
    client.vocabularies.put("room", ["floor", "ceiling"], if_match=room.etag)

    for write in (
        lambda: client.vocabularies.put("room", ["walls"], if_match=room.etag),
        lambda: client.vocabularies.put("room", ["walls"], create_only=True),
        lambda: client.vocabularies.delete("room", if_match=room.etag),
    ):
        with pytest.raises(PreconditionFailed):
            write()
    assert [entry.name for entry in client.vocabularies.get("room").classes] == ["floor", "ceiling"]


def test_a_name_cannot_lead_elsewhere(server: Server) -> None:
    spy = Spy()
    with spy.http() as http, Client(server.url, http=http) as client, pytest.raises(NotFound):
        client.vocabularies.get("../models")

    assert len(spy.seen) == 1
