"""Signals that end a server."""

import asyncio
import signal

import pytest

from lexiseg_service.commands.serving import hosting
from tests.service.gateway.known_backend import SlowBackend
from tests.service.gateway.rest.raw import WHOLE, listening


async def test_who_asks_twice_waits_for_nobody_and_hears_of_no_error(caplog: pytest.LogCaptureFixture) -> None:
    backend = SlowBackend()
    async with listening(backend) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        await backend.reached.wait()

        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        await server.running
        for task in asyncio.all_tasks():  # as the end of the event loop does
            if "LifespanOn" in repr(task.get_coro()):
                task.cancel()
                await asyncio.wait({task})

        assert not server.server.failed
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_who_asks_while_the_server_goes_down_is_told_to_open_another_connection() -> None:
    async with listening() as server:
        server.server.linger = 1.0
        raw = await server.open()
        server.server.should_exit = True

        heads: list[bytes] = []
        while not heads or b"\r\nconnection: close\r\n" not in heads[-1]:
            await raw.send(WHOLE)
            heads.append(await raw.head())
            await raw.body(heads[-1])

        assert server.server.servers[0].is_serving()
        assert await raw.reader.read() == b""
    assert {head.split()[1] for head in heads} == {b"200"}


async def test_a_connection_of_some_age_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "CONNECTION_AGE", -1.0)
    async with listening() as server:
        raw = await server.open()
        await raw.send(WHOLE)
        head = await raw.head()
        await raw.body(head)

        assert head.split()[1] == b"200"
        assert b"\r\nconnection: close\r\n" in head
        assert await raw.reader.read() == b""
