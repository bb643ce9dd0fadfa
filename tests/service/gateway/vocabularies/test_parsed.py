from __future__ import annotations

import asyncio
import base64
from typing import TypeVar

import orjson
import pytest

from lexiseg_service.gateway.vocabularies.parsed import ParsedVocabularies
from lexiseg_service.settings import Limits

ROOM, GARDEN = (orjson.dumps({"classes": [f"{word} {n}" for n in range(50)]}) for word in ("lamp", "tree"))
PICTURE = bytes(10_000)
T = TypeVar("T")


async def whole_bytes() -> int:
    """Of one of them."""
    readings = ParsedVocabularies(Limits())
    assert await readings.vocabulary("room", ROOM) is not None
    return readings.nbytes


async def test_the_latest_stay_as_far_as_there_is_room() -> None:
    most = await whole_bytes() * 3 // 2
    readings = ParsedVocabularies(Limits(), most)

    room = await readings.vocabulary("room", ROOM)
    assert await readings.vocabulary("room", ROOM) is room
    garden = await readings.vocabulary("garden", GARDEN)

    assert await readings.vocabulary("garden", GARDEN) is garden
    assert 0 < readings.nbytes <= most
    again = await readings.vocabulary("room", ROOM)
    assert again is not room
    assert again == room


async def test_what_a_list_says_is_read_once_though_nothing_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = ParsedVocabularies(Limits(), 0)
    documents = {"room": ROOM, "garden": GARDEN}
    listed = [await readings.summary(slot, content) for slot, content in documents.items()]
    monkeypatch.setattr(readings, "_vocabulary", None)  # would be called

    again = [await readings.summary(slot, content) for slot, content in documents.items()]

    assert [each.n_classes for each in again if each is not None] == [50, 50]
    assert again == listed


async def test_a_document_that_is_gone_takes_nothing() -> None:
    readings = ParsedVocabularies(Limits())
    for slot in ("room", "garden"):
        await readings.vocabulary(slot, ROOM)

    readings.keep_only({"garden"})
    assert await readings.summary("garden", None) is None

    assert readings.nbytes == 0


async def test_pictures_count_as_they_are_kept() -> None:
    image = {"base64": base64.b64encode(PICTURE).decode()}
    shown = [{"image": image, "box": [1, 1, 9, 9]}] * 3
    readings = ParsedVocabularies(Limits())

    vocabulary = await readings.vocabulary("room", orjson.dumps({"classes": [{"name": "cup", "examples": shown}]}))

    assert vocabulary is not None
    assert len({id(example.image.content) for example in vocabulary.examples}) == 1
    assert len(PICTURE) * 5 <= vocabulary.nbytes <= len(PICTURE) * 5 + 2000


async def test_concurrent_readers_of_one_document_get_the_same_vocabulary() -> None:
    readings = ParsedVocabularies(Limits())

    rooms = await asyncio.gather(*(readings.vocabulary("room", ROOM) for _ in range(3)))

    assert rooms[0] is not None
    assert {room and room.etag for room in rooms} == {rooms[0].etag}
    assert await readings.vocabulary("room", GARDEN) != rooms[0]
