"""The end of the server: what is answered, what is told so, and how long a connection is kept before."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.gateway.rest.http1.messages import HALF, SHORT, WHOLE
from tests.service.gateway.rest.raw import ALIVE, listening
from tests.service.gateway.rest.test_guard import SlowBackend


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
        raw = await server.open(HALF)
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
