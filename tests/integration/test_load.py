"""Two clients whose questions bring thousands of new words."""

import asyncio
import json
import random
from typing import Any

import httpx

from tests import pictures
from tests.integration.server import Server, form
from tests.waiting import SOON

N_CLASSES, N_SYNONYMS = 2048, 8  # as many as one request may bring
ENOUGH = 60.0  # seconds


def client_from(address: str, server: Server) -> httpx.AsyncClient:
    """A client that the server sees under an address of the loopback's own."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    return httpx.AsyncClient(base_url=server.url, transport=transport, timeout=SOON)


def strange_words(chance: random.Random) -> str:
    """A question of as many new words as may be asked for."""
    words = iter(lambda: f"{chance.getrandbits(48):012x}", "")
    classes = [{"name": next(words), "synonyms": [next(words) for _ in range(N_SYNONYMS)]} for _ in range(N_CLASSES)]
    return json.dumps({"classes": classes})


async def test_two_questions_of_thousands_of_new_words_hold_up_nobody_else(server: Server) -> None:
    image = pictures.encoded(pictures.small("chelsea", 96), "PNG")
    question = form(image, "cat", "sofa")
    async with (
        client_from("127.0.0.2", server) as modest,
        client_from("127.0.0.3", server) as first,
        client_from("127.0.0.4", server) as second,
    ):

        async def segments() -> list[Any]:
            answer = await modest.post("/segment", files=question)
            assert answer.status_code == 200, answer.text
            found: list[Any] = answer.json()["segments"]
            return found

        alone = await segments()
        chance = random.Random(13)
        hostile = [
            asyncio.ensure_future(client.post("/segment", files=form(image, request=strange_words(chance))))
            for client in (first, second)
        ]
        async with asyncio.timeout(ENOUGH):  # until both are in the text tower
            while 'lexiseg_stage_waiting{stage="text"} 1.0' not in (await modest.get("/metrics")).text:
                await asyncio.sleep(0.02)

        beside = [await segments() for _ in range(5)]

        assert beside == [alone] * 5
        assert not any(question.done() for question in hostile)
        for question_of_many in hostile:
            question_of_many.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
        async with asyncio.timeout(ENOUGH):
            while "lexiseg_inflight 0.0" not in (await modest.get("/metrics")).text:
                await asyncio.sleep(0.05)
