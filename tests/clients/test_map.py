"""Many images through one question, by threads and in an event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexiseg_client import AsyncClient, Client, Segmentation, UndecodableImage
from tests import pictures
from tests.integration.server import Server

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
    images: list[str | bytes] = [IMAGES[0], b"\xff\xd8\xff nothing", str(tmp_path / "gone.jpg"), IMAGES[1]]

    with pytest.raises(UndecodableImage):
        list(client.map(images, ["sky"]))
    outcomes = list(client.map(images, ["sky"], on_error="return"))

    assert [type(outcome) for outcome in outcomes] == [Segmentation, UndecodableImage, FileNotFoundError, Segmentation]


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
