"""What floods send is what it says: a server that reads HTTP/2 by the book."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from loadtests.frames import DATA, HEADERS, PREFACE, RESET, SETTINGS, Flood, flood

PATIENCE = 30.0
N_CONNECTIONS = 2


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("settings", {SETTINGS: 9}),
        ("empty", {SETTINGS: 1, HEADERS: 1, DATA: 7}),
        ("calls", {SETTINGS: 1, HEADERS: 4, RESET: 4}),
    ],
)
async def test_frames_are_whole_and_come_again_where_they_are_cut_off(kind: str, first: dict[int, int]) -> None:
    seen: list[Counter[int]] = []
    enough = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(PREFACE)) == PREFACE
        kinds: Counter[int] = Counter()
        for _ in range(sum(first.values())):
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3]))
            kinds[head[3]] += 1
        seen.append(kinds)
        writer.transport.abort()
        if len(seen) == N_CONNECTIONS:
            enough.set()

    async with asyncio.timeout(PATIENCE), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        flooding = asyncio.ensure_future(flood(Flood("127.0.0.1", port, kind), time.perf_counter() + PATIENCE))
        await enough.wait()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)

    assert seen[:N_CONNECTIONS] == [Counter(first)] * N_CONNECTIONS
