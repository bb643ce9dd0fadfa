"""Signals that end a server."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.service.gateway.rest.raw import WHOLE, listening
from tests.service.gateway.rest.test_guard import SlowBackend


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
