"""Answers of megabytes, and clients that take them slowly or not at all."""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64decode

import pytest

from lexiseg_service.gateway.rest.http1.connection import TimedProtocol
from lexiseg_service.gateway.rest.http1.long_answers import PIECE
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.http1.messages import WHOLE
from tests.service.gateway.rest.raw import ALIVE, Listening, Raw, listening

OVERLAY = bytes(range(256)) * 2**15  # 8 MiB, more than any system takes by itself
ROOM = {"max_bytes_in_flight": 2 * 12 * 2**20, "client_share": 1}  # for one answer that is not taken, and no second


def painting() -> KnownBackend:
    return KnownBackend(changes={"overlay": OVERLAY})


async def narrow(server: Listening) -> Raw:
    """A client for which the system takes little by itself."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", server.port))
    raw = Raw(*await asyncio.open_connection(sock=own, limit=2**14))
    server._writers.append(raw.writer)
    return raw


def held(server: Listening) -> float | None:
    return server.metrics.registry.get_sample_value("lexiseg_cache_bytes", {"cache": "answers"})


async def lying(server: Listening) -> Raw:
    """A client that asks, and takes nothing."""
    raw = await narrow(server)
    await raw.send(WHOLE)
    while not held(server):
        await asyncio.sleep(0.01)
    return raw


async def test_a_long_answer_comes_whole_and_leaves_nothing() -> None:
    async with listening(painting()) as server:
        raw = await server.open()
        await raw.send(WHOLE + ALIVE)
        status, body = await raw.answer()
        after = await raw.answer()

        assert held(server) == 0
    assert (status, after[0]) == (200, 200)
    assert b64decode(json.loads(body)["overlay"]) == OVERLAY


async def test_an_answer_that_is_not_taken_is_there_once_and_counted() -> None:
    async with listening(painting()) as server:
        raw = await lying(server)
        (protocol,) = server.server.server_state.connections
        waiting = protocol.transport.get_write_buffer_size()

        assert held(server) == pytest.approx(len(OVERLAY) * 4 / 3, rel=0.01)
        assert waiting < 3 * PIECE
        raw.writer.transport.abort()
        while held(server):
            await asyncio.sleep(0.01)


async def test_who_lets_too_many_answers_lie_gets_no_more_of_them() -> None:
    async with listening(painting(), **ROOM) as server:
        await lying(server)
        raw = await server.open()
        await raw.send(WHOLE + ALIVE)

        assert await raw.problem() == (429, "rate-limited")
        assert (await raw.answer())[0] == 200  # what is short needs no room


def look(server: Listening, seconds: float) -> None:
    """As if so much time had passed."""
    (protocol,) = server.server.server_state.connections
    assert isinstance(protocol, TimedProtocol)
    protocol.look(seconds)


async def test_an_answer_that_is_taken_by_drops_is_cut_off() -> None:
    async with listening(painting(), head_seconds=10.0, body_pace=2**14) as server:
        raw = await lying(server)
        for _ in range(4):  # at each of which something was taken
            look(server, 4.0)
            await raw.reader.readexactly(2**10)

        while held(server):
            await asyncio.sleep(0.01)
        assert server.ended("answer") == 1


async def test_an_answer_that_is_taken_at_the_least_pace_comes_whole() -> None:
    async with listening(painting(), head_seconds=10.0, body_pace=2**14) as server:
        raw = await lying(server)
        head = await raw.reader.readuntil(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while left:
            n = min(left, 2**18)
            await raw.reader.readexactly(n)
            left -= n
            if left > 2**20:
                look(server, 4.0)

        assert server.ended("answer") == 0
