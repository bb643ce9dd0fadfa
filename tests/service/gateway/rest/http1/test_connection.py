"""Clients that are slow or silent, on real sockets; the patience of these servers is short."""

from __future__ import annotations

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import QueueFull
from lexiseg_service.gateway.rest.http1.connection import MOST_AWAITED, TimedProtocol
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.http1.messages import HALF, QUESTION, SHORT, WHOLE
from tests.service.gateway.rest.raw import ALIVE, HEAD, listening
from tests.service.gateway.rest.test_guard import SlowBackend


@pytest.mark.parametrize("sent", [b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"G"])
async def test_half_a_head_is_told_that_it_is_too_slow(sent: bytes) -> None:
    async with listening(**SHORT) as server:
        raw = await server.open(sent)

        assert await raw.problem() == (408, "too-slow")
        assert await raw.ended()
        assert server.ended("head") == 1


async def test_a_second_head_has_its_time_too() -> None:
    async with listening(**SHORT) as server:
        raw = await server.open(ALIVE + b"GET /livez")
        assert (await raw.answer())[0] == 200
        await raw.send(b" HTTP/1.1\r\n")

        assert await raw.problem() == (408, "too-slow")


async def test_silence_is_ended_without_a_word() -> None:
    async with listening(**SHORT) as server:
        raw = await server.open()

        assert await raw.ended()


@pytest.mark.parametrize("head", [HALF, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"])
async def test_half_a_body_is_told_that_it_is_too_slow(head: bytes) -> None:
    async with listening(**SHORT) as server:
        with capture_logs() as lines:
            raw = await server.open(head)

            assert await raw.problem() == (408, "too-slow")
            assert await raw.ended()
            while not (told := [line["status"] for line in lines if line.get("event") == "request"]):
                await asyncio.sleep(0.01)  # the application hears of it a moment later
        assert told == [408]
        assert server.metrics.registry.get_sample_value("lexiseg_cache_bytes", {"cache": "requests"}) == 0


async def test_a_body_that_comes_slower_than_the_least_pace_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.rest.http1.connection.PACE_SECONDS", 0.3)
    async with listening(body_pace=10_000) as server:
        raw = await server.open()
        await raw.send(HALF)

        status, body = await raw.answer()
        assert (status, json.loads(body)["type"]) == (408, "too-slow")
        assert "10,000 are the least" in json.loads(body)["detail"]


async def test_a_body_that_comes_in_pieces_is_read_in_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimedProtocol, "look", lambda *_: None)  # nobody is taken for slow
    read: list[int] = []
    receive = TimedProtocol.data_received

    def counted(self: TimedProtocol, data: bytes) -> None:
        read.append(len(data))
        receive(self, data)

    monkeypatch.setattr(TimedProtocol, "data_received", counted)
    backend = KnownBackend()
    body = QUESTION.encode() + b" " * 3 * MOST_AWAITED
    async with listening(backend) as server:
        raw = await server.open()
        await raw.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 1000):
            await raw.send(body[start : start + 1000])
            await asyncio.sleep(0)
        first = await raw.answer()
        await raw.send(WHOLE)  # and what is short comes at once
        second = await raw.answer()

    assert (first[0], second[0], len(backend.asked)) == (200, 200, 2)
    of_first = read[: next(place for place, _ in enumerate(read) if sum(read[: place + 1]) >= len(body))]
    assert all(n >= MOST_AWAITED for n in of_first[1:])


async def test_half_a_body_whose_client_goes_is_not_waited_for() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(HALF)
        raw.writer.write_eof()

        assert await raw.ended()


async def test_a_body_nobody_reads_is_cut_off_without_a_second_answer() -> None:
    async with listening(**SHORT) as server:
        raw = await server.open(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")

        assert (await raw.answer())[0] == 404
        assert await raw.ended()


async def test_an_answer_that_takes_long_is_no_reason_to_be_cut_off() -> None:
    backend = SlowBackend()
    async with listening(backend, **SHORT) as server:
        raw = await server.open(WHOLE)
        await backend.reached.wait()
        slow = await server.open()
        assert await slow.ended()  # the clock has gone round for whoever has something to do
        backend.may_go_on.set()

        assert (await raw.answer())[0] == 200


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 7), (5, 12), (1000, 67)])
async def test_who_is_told_to_come_again_finds_the_connection_still_there(
    retry_after: int | None, seconds: int
) -> None:
    failure = None if retry_after is None else QueueFull("full", retry_after)
    async with listening(KnownBackend(failure=failure), keep_alive_seconds=7) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        await raw.answer()
        (connection,) = server.server._connections._open
        assert isinstance(connection, TimedProtocol)
        while (closing := connection.timeout_keep_alive_task) is None:
            await asyncio.sleep(0.01)

        left = closing.when() - asyncio.get_running_loop().time()

    assert seconds - 5 < left <= seconds
