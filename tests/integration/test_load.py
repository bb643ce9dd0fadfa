"""Many clients at once: the answers of one, and no harm from those who leave."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests import pictures
from tests.integration.server import Server, form

CLIENTS = 32
SCENES = {
    "china": (["sky", "building", "tree"], ["pagoda"], ["water", "zebra", "sky", "grass", "person"]),
    "flower": (["flower"], ["leaf", "flower", "car"]),
    "chelsea": (["cat"], ["dog", "cat", "sofa", "wall"]),
    "rocket": (["rocket", "sky"], ["sea", "sky", "smoke"]),
}


class Question(NamedTuple):
    """Multipart parts, and what to call them."""

    name: str
    parts: list[tuple[str, Any]]


def questions() -> list[Question]:
    """Mixed photographs, sizes, class lists and options."""
    asked = []
    for name, lists in SCENES.items():
        for number, classes in enumerate(lists):
            side = 160 + 40 * number
            image = pictures.encoded(pictures.small(name, side), "JPEG" if number % 2 else "PNG")
            background = "true" if number % 2 else "false"
            fields = form(image, *classes, background=background, max_side=side)
            asked.append(Question(f"{name} {number}", fields))
    return asked


@pytest.fixture
async def many(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        yield client


async def segments(client: httpx.AsyncClient, question: Question) -> list[dict[str, Any]]:
    answer = await client.post("/segment", files=question.parts)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["segments"]
    return entries


async def test_parallel_clients_get_the_answers_of_one(many: httpx.AsyncClient) -> None:
    asked = questions()
    alone = {question.name: await segments(many, question) for question in asked}
    mixed = [asked[index % len(asked)] for index in range(CLIENTS)]
    random.Random(7).shuffle(mixed)

    together = await asyncio.gather(*(segments(many, question) for question in mixed))

    assert any(alone.values())
    for question, found in zip(mixed, together, strict=True):
        assert found == alone[question.name], question.name


async def test_a_client_that_leaves_hurts_nobody(many: httpx.AsyncClient, server: Server) -> None:
    asked = questions()
    alone = {question.name: await segments(many, question) for question in asked}
    chance = random.Random(11)

    async def leave(question: Question) -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.post("/segment", files=question.parts), chance.uniform(0.001, 0.3))

    async def stay(question: Question) -> bool:
        return await segments(many, question) == alone[question.name]

    chosen = [chance.choice(asked) for _ in range(CLIENTS)]
    leaving = [leave(question) for question in chosen]
    staying = [stay(question) for question in chosen[: CLIENTS // 2]]
    outcomes = await asyncio.gather(*leaving, *staying)

    assert [outcome for outcome in outcomes if outcome is not None] == [True] * (CLIENTS // 2)


async def test_after_clients_have_left_nothing_stays_in_flight(many: httpx.AsyncClient, server: Server) -> None:
    (question, *_) = questions()
    async with httpx.AsyncClient(base_url=server.url) as client:
        for _ in range(10):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.post("/segment", files=question.parts), 0.02)

    async def nothing_in_flight() -> None:
        while "lexiseg_inflight 0.0" not in (await many.get("/metrics")).text:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(nothing_in_flight(), 60)


async def test_a_half_sent_request_holds_up_nobody(many: httpx.AsyncClient, server: Server) -> None:
    url = httpx.URL(server.url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    await writer.drain()

    found = await segments(many, questions()[0])
    writer.close()
    await writer.wait_closed()

    assert found


@pytest.fixture
def small_queue(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "log.jsonl", LEXISEG_QUEUE_LIMIT="2") as running:
        yield running


async def test_more_than_the_queue_holds_is_refused_with_a_time_to_come_again(small_queue: Server) -> None:
    question = Question("large", form(pictures.encoded(pictures.photograph("china"), "JPEG"), "sky", overlay="true"))
    async with httpx.AsyncClient(base_url=small_queue.url, timeout=120) as client:
        answers = await asyncio.gather(*(client.post("/segment", files=question.parts) for _ in range(CLIENTS)))

    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
