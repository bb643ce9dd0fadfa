"""An answer does not depend on the other requests in its batch."""

import asyncio
import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests import pictures
from tests.integration.server import Server, form

REQUESTS = 40
SCENES = ("china", "flower", "chelsea", "coffee", "astronaut", "rocket")
SIDES = (64, 96, 160, 224, 320)
TYPES = ("JPEG", "PNG", "WEBP", "BMP")
WORDS = ("sky", "building", "tree", "flower", "leaf", "cat", "cup", "table", "person", "flag", "rocket", "sea")
OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {"background": False}, {"background": {"threshold": 0.4, "words": ["wall", "ground"]}},
    {"threshold": 0.3, "background": True}, {"confidence": True}, {"overlay": True}, {"refine": "pamr"},
    {"max_side": 128}, {"task": "instance"},
)  # fmt: skip
OF_THE_OCCASION = ("id", "timings_ms", "cache")


class Request(NamedTuple):
    """An image and a question, sent in one of the two forms."""

    image: bytes
    question: dict[str, Any]
    as_json: bool

    async def answer(self, client: httpx.AsyncClient) -> dict[str, Any]:
        if self.as_json:
            image = {"base64": base64.b64encode(self.image).decode()}
            answer = await client.post("/segment", json={"image": image, **self.question})
        else:
            answer = await client.post("/segment", files=form(self.image, request=json.dumps(self.question)))
        assert answer.status_code == 200, f"{self.question}: {answer.text}"
        content: dict[str, Any] = answer.json()
        assert content["cache"]["features"] is False
        return {name: value for name, value in content.items() if name not in OF_THE_OCCASION}


def mixed(chance: random.Random) -> Request:
    """Any size, file type, class list, option and mask."""
    picture = pictures.small(chance.choice(SCENES), chance.choice(SIDES))
    asked: dict[str, Any] = {"classes": chance.sample(WORDS, chance.randint(1, 8))}
    if chance.random() < 0.3:
        asked = {"vocabulary": chance.choice(["ade20k", "voc20"])}
    mask = chance.choice(["rle", "polygon", "png", "none"])
    question = {**asked, "mask": mask, **chance.choice(OPTIONS)}
    return Request(pictures.encoded(picture, chance.choice(TYPES)), question, chance.random() < 0.5)


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Server]:
    """Keeps no features: every answer takes an image pass, and two passes run beside each other."""
    settings = {"LEXISEG_FEATURE_CACHE_BYTES": "0", "LEXISEG_QUEUE_LIMIT": str(REQUESTS), "OMP_NUM_THREADS": "2"}
    with Server(tmp_path / "log.jsonl", LEXISEG_DEADLINE_SECONDS="600", **settings) as running:
        yield running


@pytest.mark.slow
async def test_mixed_requests_at_once_are_answered_as_alone(forgetful: Server) -> None:
    chance = random.Random(1)  # which draws each of the options
    asked = [mixed(chance) for _ in range(REQUESTS)]
    limits = httpx.Limits(max_connections=REQUESTS)
    async with httpx.AsyncClient(base_url=forgetful.url, timeout=600, limits=limits) as client:
        alone = [await request.answer(client) for request in asked]

        together = await asyncio.gather(*(request.answer(client) for request in asked))

    for request, one, other in zip(asked, alone, together, strict=True):
        assert other == one, request.question
