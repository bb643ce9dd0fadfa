"""Many connections, many requests on one of them, and bodies without room."""

from __future__ import annotations

import asyncio

import pytest

from lexiseg_service.gateway.rest.http1 import connection
from lexiseg_service.gateway.rest.http1.connection import MOST_AHEAD, SMALL_BURST
from lexiseg_service.gateway.turns import OneInAWhile
from tests.service.gateway.rest.http1.messages import HALF, QUESTION, WHOLE
from tests.service.gateway.rest.raw import ALIVE, HEAD, MODELS, listening
from tests.service.gateway.rest.test_guard import SlowBackend

REFUSED = HEAD + b"Content-Length: 2\r\n\r\n{}"


async def test_a_few_requests_may_be_sent_ahead_and_no_more() -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        few, many = await server.open(), await server.open()
        await few.send(WHOLE + ALIVE * MOST_AHEAD)
        await many.send(WHOLE + ALIVE * (MOST_AHEAD + 1))
        await backend.reached.wait()

        assert await many.ended()
        backend.may_go_on.set()
        assert [(await few.answer())[0] for _ in range(1 + MOST_AHEAD)] == [200] * (1 + MOST_AHEAD)


async def test_who_goes_while_requests_stand_in_line_leaves_no_failure_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        raw = await server.open()
        await raw.send(WHOLE + ALIVE)
        await backend.reached.wait()
        raw.writer.close()
        while len(server.connections):
            await asyncio.sleep(0.01)
        backend.may_go_on.set()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_one_address_has_so_many_connections_and_probes_are_answered_nevertheless() -> None:
    async with listening(max_address_connections=2) as server:
        first, second, third = [await server.open() for _ in range(3)]
        for raw in (first, second):
            await raw.send(MODELS)
            assert (await raw.answer())[0] == 200
        await third.send(ALIVE)
        assert (await third.answer())[0] == 200
        await third.send(MODELS)

        assert await third.problem() == (429, "rate-limited")
        assert await third.ended()


@pytest.mark.parametrize("asked", [ALIVE, REFUSED])
async def test_who_asks_for_one_small_thing_after_the_other_waits_and_no_other(
    monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    may_go_on, waited = asyncio.Event(), asyncio.Event()

    async def turn(*_: object) -> None:
        waited.set()
        await may_go_on.wait()

    monkeypatch.setattr(OneInAWhile, "of", turn)
    monkeypatch.setattr(connection, "SMALL_RATE", 1e-3)  # none is forgotten meanwhile
    async with listening() as server:
        hasty, other = await server.open(), await server.open()
        for _ in range(SMALL_BURST + 1):
            await hasty.send(asked)
            await hasty.answer()
        in_time = not waited.is_set()
        await hasty.send(asked)
        await waited.wait()
        await other.send(ALIVE)

        assert (await other.answer())[0] == 200
        assert in_time
        may_go_on.set()
        await hasty.answer()


async def test_questions_that_are_answered_are_no_small_things(monkeypatch: pytest.MonkeyPatch) -> None:
    async def turn(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(OneInAWhile, "of", turn)
    async with listening() as server:
        raw = await server.open()
        for _ in range(3 * SMALL_BURST):
            await raw.send(WHOLE)
            assert (await raw.answer())[0] == 200


async def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    async with listening(max_connections=1) as server:
        first = await server.open()
        await first.send(MODELS)
        assert (await first.answer())[0] == 200
        second = await server.open()
        await second.send(MODELS)

        assert (await second.answer())[0] == 200
        assert await first.ended()


async def test_a_connection_too_many_is_told_so_where_none_is_idle() -> None:
    async with listening(max_connections=1) as server:
        first = await server.open()
        await first.send(HALF)
        second = await server.open()
        await second.send(MODELS)

        assert await second.problem() == (429, "queue-full")


async def test_a_body_waits_until_there_is_room_for_it() -> None:
    backend = SlowBackend()
    async with listening(backend, max_bytes_in_flight=len(QUESTION), client_share=1) as server:
        first, second = await server.open(), await server.open()
        await first.send(WHOLE)
        await backend.reached.wait()
        await second.send(WHOLE)
        backend.may_go_on.set()

        assert [(await raw.answer())[0] for raw in (first, second)] == [200, 200]


async def test_a_body_without_room_is_told_when_to_come_again() -> None:
    backend = SlowBackend()
    settings = {"max_bytes_in_flight": len(QUESTION), "client_share": 1, "deadline_seconds": 0.2}
    async with listening(backend, **settings) as server:
        first, second = await server.open(), await server.open()
        await first.send(WHOLE)
        await backend.reached.wait()
        await second.send(WHOLE)

        assert await second.problem() == (429, "rate-limited")
        backend.may_go_on.set()


async def test_a_question_says_whether_others_are_being_answered() -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        first, second = await server.open(), await server.open()
        await first.send(WHOLE)
        await backend.reached.wait()
        backend.reached.clear()
        await second.send(WHOLE)
        await backend.reached.wait()
        backend.may_go_on.set()
        assert [(await each.answer())[0] for each in (first, second)] == [200, 200]
        await second.send(WHOLE)
        assert (await second.answer())[0] == 200

    assert [request.alone for request in backend.asked] == [True, False, True]
