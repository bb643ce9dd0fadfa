"""Clients that are slow, silent or many, on real sockets; the patience of these servers is short."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import QueueFull
from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.rest.http1.connection import MOST_AHEAD, MOST_AWAITED, TimedProtocol
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.raw import ALIVE, HEAD, MODELS, listening
from tests.service.gateway.rest.test_guard import SlowBackend

SHORT: dict[str, Any] = {"head_seconds": 0.3, "body_seconds": 0.3}
QUESTION = json.dumps({"classes": ["sky"], "image": {"base64": b64encode(pictures.encoded(pictures.small())).decode()}})
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(QUESTION), QUESTION.encode())
HALF = HEAD + b"Content-Length: 100000\r\n\r\n{"


@pytest.mark.parametrize("sent", [b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"G"])
async def test_half_a_head_is_told_that_it_is_too_slow(sent: bytes) -> None:
    async with listening(**SHORT) as server:
        raw = await server.open()
        await raw.send(sent)

        assert await raw.problem() == (408, "too-slow")
        assert await raw.ended()
        assert server.ended("head") == 1


async def test_a_second_head_has_its_time_too() -> None:
    async with listening(**SHORT) as server:
        raw = await server.open()
        await raw.send(ALIVE + b"GET /livez")
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
        raw = await server.open()
        with capture_logs() as lines:
            await raw.send(head)

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
        raw = await server.open()
        await raw.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")

        assert (await raw.answer())[0] == 404
        assert await raw.ended()


async def test_an_answer_that_takes_long_is_no_reason_to_be_cut_off() -> None:
    backend = SlowBackend()
    async with listening(backend, **SHORT) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        await backend.reached.wait()
        slow = await server.open()
        assert await slow.ended()  # the clock has gone round for whoever has something to do
        backend.may_go_on.set()

        assert (await raw.answer())[0] == 200


async def test_what_is_no_http_is_a_problem() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"HELO there\r\n\r\n")

        assert await raw.problem() == (400, "malformed-request")
        assert await raw.ended()


async def test_a_head_without_end_is_a_problem() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Long: 12345678\r\n" * 5000)

        assert await raw.problem() == (431, "too-large")


async def test_a_head_that_is_too_large_is_a_problem_even_where_its_end_comes_with_it() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"1" * 65_536 + b"\r\n\r\n")

        assert await raw.problem() == (431, "too-large")


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(QUESTION), QUESTION.encode())


async def test_what_follows_a_body_is_no_part_of_its_head() -> None:
    async with listening(api_keys=line_of("known", "lexiseg_key")) as server:
        raw = await server.open()
        await raw.send(CHUNKED + b"X-API-Key: lexiseg_key\r\n\r\n")

        assert await raw.problem() == (401, "unauthorized")


@pytest.mark.parametrize(
    ("last", "beside"),
    [
        (b"0\r\n", b"X-Long: 12345678\r\n" * 5000),
        (b"0\r\nX: ", b"a" * 90_000),
        (b"1;", b"a" * 90_000),
        (b"", b"1\r\n{\r\n" * 20_000),
    ],
    ids=["trailers", "one trailer", "an extension", "chunks"],
)
async def test_what_stands_beside_a_body_in_chunks_has_an_end(last: bytes, beside: bytes) -> None:
    async with listening(body_seconds=1000, body_pace=1) as server:
        raw = await server.open()
        await raw.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" + last)
        with suppress(ConnectionError):
            while not raw.reader.at_eof():
                await raw.send(beside)


async def test_small_chunks_are_a_body() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(QUESTION), 8):
            part = QUESTION[start : start + 8].encode()
            await raw.send(b"%x\r\n%s\r\n" % (len(part), part))
        await raw.send(b"0\r\n\r\n")

        assert (await raw.answer())[0] == 200


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


async def test_what_is_no_http_behind_requests_in_line_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(MODELS * 3 + b"HELO there\r\n\r\n")

        assert await raw.ended()
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


async def test_the_end_of_the_server_waits_for_answers_and_for_nothing_half_sent() -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        idle, silent, head, body, whole = [await server.open() for _ in range(5)]
        await idle.send(ALIVE)
        await idle.answer()
        await head.send(b"GET /livez HTTP/1.1\r\n")
        await body.send(HALF)
        await whole.send(WHOLE)
        await backend.reached.wait()
        stopping = asyncio.create_task(server.stop())

        # Long before their own clocks, and the time for draining: twenty seconds each, which is all that a test has.
        assert await body.problem() == (503, "not-ready")
        for raw in (idle, silent, head, body):
            assert await raw.ended()
        assert not stopping.done()
        backend.may_go_on.set()
        assert (await whole.answer())[0] == 200
        await stopping


async def test_whoever_was_told_and_stays_does_not_hold_up_the_end() -> None:
    async with listening(**SHORT) as server:
        raw = await server.open()
        await raw.send(HALF)
        assert await raw.problem() == (408, "too-slow")

        await server.stop()


async def test_a_kept_connection_is_answered_once_more_while_the_server_ends() -> None:
    async with listening(linger=2.0) as server:
        raw = await server.open()
        await raw.send(ALIVE)
        await raw.answer()
        stopping = asyncio.create_task(server.stop())
        while not server.server._connections.leaving:
            await asyncio.sleep(0.01)
        await raw.send(ALIVE)

        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in head
        await stopping


async def test_what_is_being_answered_when_the_end_begins_is_told_that_it_is_the_last() -> None:
    backend = SlowBackend()
    async with listening(backend, linger=0.5) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        await backend.reached.wait()
        stopping = asyncio.create_task(server.stop())
        while not server.server._connections.leaving:
            await asyncio.sleep(0.01)
        backend.may_go_on.set()

        assert b"connection: close" in await raw.reader.readuntil(b"\r\n\r\n")
        await stopping


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


async def test_who_has_just_connected_is_answered_and_nobody_after_him() -> None:
    async with listening() as server:
        server.server.last = 10.0
        raw = await server.open()
        stopping = asyncio.create_task(server.stop())
        while server.server.servers[0].sockets:
            await asyncio.sleep(0.01)

        with pytest.raises(ConnectionRefusedError):
            await server.open()
        await raw.send(ALIVE)
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in head
        await stopping


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\n",
        b"GET /livez HTTP/1.1\r\nHost:\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a b/c\r\n",
        b"POST /segment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"GET /models HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
        b"GET /models HTTP/1.1\r\nHost: x\r\nX-API-Key: one\r\nX-API-Key: two\r\n",
        HEAD + b"Content-Type: multipart/form-data; boundary=x\r\n",
        b"GET /models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\nAuthorization: Bearer two\r\n",
    ],
)
async def test_what_two_servers_might_read_differently_is_malformed(head: bytes) -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(head + b"\r\n")

        assert await raw.problem() == (400, "malformed-request")


async def test_a_client_of_http_1_0_needs_no_host() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(b"GET /livez HTTP/1.0\r\n\r\n")

        assert (await raw.answer())[0] == 200


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
