"""A way to a server that stops in the middle of what a client sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PIECE = 2**14


@asynccontextmanager
async def stalling(port: int, n_bytes: int) -> AsyncIterator[int]:
    """A port that passes so many bytes of each connection on to another, and no more; and all that comes back."""
    passing: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        for way in (_passed(reader, back, n_bytes), _passed(there, writer)):
            passing.add(asyncio.create_task(way))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, n_bytes: float = float("inf")) -> None:
    try:
        with suppress(ConnectionError):
            while n_bytes > 0 and (piece := await reader.read(int(min(PIECE, n_bytes)))):
                n_bytes -= len(piece)
                writer.write(piece)
                await writer.drain()
            if n_bytes <= 0:
                await asyncio.Event().wait()
    finally:
        writer.transport.abort()
