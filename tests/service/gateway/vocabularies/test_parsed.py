from __future__ import annotations

import base64

import orjson

from lexiseg_service.gateway.vocabularies.collection import ParsedVocabularies
from lexiseg_service.settings import Limits

ROOM, GARDEN = (orjson.dumps({"classes": [f"{word} {n}" for n in range(50)]}) for word in ("lamp", "tree"))
PICTURE = bytes(10_000)


async def test_the_most_recently_used_ones_stay_in_memory() -> None:
    unbounded = ParsedVocabularies(Limits())
    assert await unbounded.get("room", ROOM) is not None
    parsed = ParsedVocabularies(Limits(), unbounded.nbytes * 3 // 2)

    room = await parsed.get("room", ROOM)
    assert await parsed.get("room", ROOM) is room
    garden = await parsed.get("garden", GARDEN)

    assert await parsed.get("garden", GARDEN) is garden
    assert 0 < parsed.nbytes <= unbounded.nbytes * 3 // 2
    again = await parsed.get("room", ROOM)
    assert again is not room
    assert again == room


async def test_a_picture_counts_once_and_its_base64_for_each_example() -> None:
    image = {"base64": base64.b64encode(PICTURE).decode()}
    shown = [{"image": image, "box": [1, 1, 9, 9]}] * 3

    vocabulary = await ParsedVocabularies(Limits()).get(
        "room", orjson.dumps({"classes": [{"name": "cup", "examples": shown}]})
    )

    assert vocabulary is not None
    assert len({id(example.image.content) for example in vocabulary.examples}) == 1
    assert len(PICTURE) * 5 <= vocabulary.nbytes <= len(PICTURE) * 5 + 2000
