"""More clients at once than the queue holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import pictures
from tests.integration.server import Server, form

CLIENTS = 32


@pytest.fixture
def small_queue(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "log.jsonl", LEXISEG_QUEUE_LIMIT="2") as running:
        yield running


async def test_more_than_the_queue_holds_is_refused_with_a_time_to_come_again(small_queue: Server) -> None:
    question = form(pictures.encoded(pictures.photograph("china"), "JPEG"), "sky", overlay="true")
    async with httpx.AsyncClient(base_url=small_queue.url, timeout=120) as client:
        answers = await asyncio.gather(*(client.post("/segment", files=question) for _ in range(CLIENTS)))

    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
