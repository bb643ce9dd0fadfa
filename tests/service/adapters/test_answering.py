"""What makes large answers into a tool's shape keeps nobody else waiting, and works for nobody who has gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from lexiseg_model.types import Ring, Segment
from lexiseg_service.adapters.answering import AT_ONCE, CORNER, each
from lexiseg_service.gateway.turns import Turns
from lexiseg_service.question.messages import WorkerAnswer
from tests.service.gateway.known_backend import answer as known_answer

SOON = 20.0  # seconds
LARGE = (1, AT_ONCE)


def request_of(turns: Turns, client: str, gone: bool = False) -> Request:
    async def receive() -> dict[str, Any]:
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    app = SimpleNamespace(state=SimpleNamespace(turns=turns))
    return Request({"type": "http", "app": app, "state": {"client": client}}, receive)


def answer_of(n: int, size: tuple[int, int], rings: list[Ring] | None = None) -> WorkerAnswer:
    known = known_answer()
    segments = tuple(replace(known.segments[0], id=number) for number in range(n))
    return replace(known, size=size, segments=segments, polygons=None if rings is None else (rings,) * n)


async def test_of_large_answers_one_mask_is_made_at_a_time_and_clients_take_turns() -> None:
    turns, made, running = Turns(), list[str](), list[int]()

    def making(client: str, segment: Segment, _: object) -> int:
        running.append(1)
        made.append(client)
        assert running.pop() == 1
        assert not running
        return segment.id

    async def ask(client: str) -> list[int]:
        answer = answer_of(3, LARGE)
        return await each(request_of(turns, client), answer, lambda segment, rings: making(client, segment, rings))

    async with asyncio.timeout(SOON):
        answers = await asyncio.gather(*(ask(client) for client in "aaaab"))

    assert answers == [[0, 1, 2]] * 5
    assert "b" in made[:4]
    assert made.count("b") == 3


@pytest.mark.parametrize("rings", [None, [Ring([0, 0] * (AT_ONCE // CORNER), [])]])
async def test_for_who_has_gone_nothing_large_is_made(rings: list[Ring] | None) -> None:
    made: list[Segment] = []

    with pytest.raises(ClientDisconnect):
        await each(
            request_of(Turns(), "a", gone=True), answer_of(2, LARGE, rings), lambda segment, _: made.append(segment)
        )

    assert not made


async def test_small_answers_wait_for_no_turn() -> None:
    rings = [Ring([0, 0, 1, 0, 1, 1], [])]
    turns = Turns()
    async with asyncio.timeout(SOON), turns.masks._turns.of("another"):
        made = await each(request_of(turns, "a"), answer_of(2, (4, 4)), lambda segment, _: segment.id)
        # Polygons cost by their corners, however large the picture is.
        parts = await each(request_of(turns, "a"), answer_of(2, LARGE, rings), lambda _, rings: len(rings))

    assert (made, parts) == ([0, 1], [1, 1])
