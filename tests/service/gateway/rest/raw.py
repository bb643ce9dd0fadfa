"""The gateway's own HTTP server on a real port of this event loop, asked in raw bytes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from lexiseg_service.commands.serving.hosting import Server, server_of
from lexiseg_service.gateway.app import create_app
from lexiseg_service.gateway.rest.http1 import connections
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.gateway.known_backend import KnownBackend

SOON = 20.0  # seconds that nothing here should need
LOOK_SECONDS = 0.05  # of a pause of the machine a server counts two looks: little beside any patience here
HEAD = b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
MODELS = b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Raw:
    """One client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def problem(self) -> tuple[int, str]:
        """Status and type of the next answer."""
        status, body = await self.answer()
        return status, json.loads(body)["type"]

    async def ended(self) -> bool:
        """Waits for the end of the connection; whether nothing came before it."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


@dataclass
class Listening:
    """A server that listens; `stopped` when it has ended after `stop`."""

    server: Server
    metrics: Metrics
    port: int
    running: asyncio.Task[None]
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def open(self, first: bytes = b"") -> Raw:
        """A connection; `first` lies there when the server accepts it, so that none of its patience is over before."""
        own = socket.create_connection(("127.0.0.1", self.port))
        own.sendall(first)
        own.setblocking(False)
        raw = Raw(*await asyncio.open_connection(sock=own))
        self._writers.append(raw.writer)
        return raw

    def ended(self, reason: str) -> float:
        """Connections that the server ended."""
        return self.metrics.registry.get_sample_value("lexiseg_connections_ended_total", {"reason": reason}) or 0.0

    @property
    def connections(self) -> Sized:
        """Those that are open."""
        return self.server.server_state.connections

    async def stop(self) -> None:
        """As SIGTERM does; comes back when the server has ended."""
        self.server.should_exit = True
        await self.running

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def listening(backend: Backend | None = None, linger: float = 0.0, **settings: Any) -> AsyncIterator[Listening]:
    """A server of a test's own."""
    metrics = Metrics()
    values = {"model": "colours", "grpc_port": 0, "drain_seconds": SOON, **settings}
    chosen = Settings(**values)
    app = create_app(chosen, backend or KnownBackend(), metrics)
    server = server_of(app, app.state.grpc, chosen, metrics, 0, "--http-port", lambda url, grpc: f"on {url}")
    server.linger = linger
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "LOOK_SECONDS", LOOK_SECONDS)
        async with asyncio.timeout(SOON):
            running = asyncio.create_task(server.serve())
            while not server.started or not app.state.grpc.port:
                await asyncio.sleep(0.01)
            here = Listening(server, metrics, server.servers[0].sockets[0].getsockname()[1], running)
            try:
                yield here
            finally:
                here.hang_up()
                await here.stop()
