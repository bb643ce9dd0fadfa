"""The last answer of a connection reaches its client: one that still sends, one that has said all."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from lexiseg_service.gateway.rest.http1.connection import TimedProtocol
from tests.service.gateway.rest.http1.messages import HALF, WHOLE
from tests.service.gateway.rest.raw import ALIVE, HEAD, listening
from tests.service.gateway.rest.test_guard import SlowBackend

LARGE = 12 * 2**20  # bytes, more than any buffer between two processes
LAST = b"POST /segment HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n"
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_who_sends_all_of_a_body_before_he_listens_hears_why_it_is_refused(version: bytes) -> None:
    async with listening() as server:
        raw = await server.open()
        head = LAST.replace(b"1.1", version)
        await raw.send(head + b"Content-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // 2**16):
            await raw.send(bytes(2**16))

        assert await raw.problem() == (400, "malformed-request")
        assert await raw.ended()


async def test_what_comes_behind_the_last_request_is_not_answered() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(LAST + b"Content-Length: 20\r\n\r\n")
        assert (await raw.answer())[0] == 400
        await raw.send(bytes(20) + ALIVE)

        assert await raw.ended()


async def test_a_body_that_is_refused_and_never_comes_ends_on_the_clock() -> None:
    async with listening(body_seconds=0.3) as server:
        raw = await server.open()
        await raw.send(LAST + b"Content-Length: 20\r\n\r\n")

        assert (await raw.answer())[0] == 400
        assert await raw.ended()


async def test_who_has_closed_his_half_is_answered() -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        raw = await server.open()
        await raw.send(WHOLE + ALIVE)
        await backend.reached.wait()
        raw.writer.write_eof()
        assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        backend.may_go_on.set()

        assert (await raw.answer())[0] == 200
        assert (await raw.answer())[0] == 200
        assert await raw.ended()


async def test_who_has_closed_his_half_is_answered_without_another_word_in_the_older_protocol() -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        raw = await server.open()
        await raw.send(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await backend.reached.wait()
        raw.writer.write_eof()
        await asyncio.sleep(0)
        backend.may_go_on.set()

        assert (await raw.answer())[0] == 200
        assert await raw.ended()


async def test_what_there_is_no_more_time_for_when_the_server_ends_is_told_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = SlowBackend()
    async with listening(backend, drain_seconds=0.1) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        await backend.reached.wait()
        stopping = asyncio.create_task(server.stop())

        assert await raw.problem() == (503, "not-ready")
        assert await raw.ended()
        raw.writer.close()
        await stopping
        assert server.ended("drain") == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_who_closes_both_halves_is_given_up() -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        await backend.reached.wait()
        raw.writer.close()
        while len(server.connections):
            await asyncio.sleep(0.01)

        assert not backend.may_go_on.is_set()


@pytest.mark.parametrize("sent", [HALF, WHOLE[:30], b""])
async def test_who_ends_in_the_middle_of_a_request_is_given_up(sent: bytes) -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(sent)
        raw.writer.write_eof()

        assert await raw.ended()


async def test_an_offer_of_another_protocol_costs_no_body() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(WHOLE.replace(HEAD, HEAD + OFFER) * 2 + ALIVE)

        assert [(await raw.answer())[0] for _ in range(3)] == [200, 200, 200]


async def test_of_who_resets_after_his_answer_nothing_is_kept() -> None:
    async with listening() as server:
        raw = await server.open()
        await raw.send(ALIVE)
        await raw.answer()
        (protocol,) = server.server.server_state.connections
        assert isinstance(protocol, TimedProtocol)
        while not protocol.idle:
            await asyncio.sleep(0.01)

        own = raw.writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.writer.transport.abort()
        while len(server.connections):
            await asyncio.sleep(0.01)

        assert protocol.timeout_keep_alive_task is None
