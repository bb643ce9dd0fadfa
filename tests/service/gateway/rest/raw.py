"""The gateway on a real port of this event loop, asked in raw bytes."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lexiseg_service.commands.serving.hosting import Server
from lexiseg_service.gateway.app import create_app
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.waiting import SOON, soon

HEAD = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
QUESTION = json.dumps({"classes": ["sky"], "image": {"base64": b64encode(pictures.encoded(pictures.small())).decode()}})
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(QUESTION), QUESTION.encode())
HALF = HEAD + b"Content-Length: 100000\r\n\r\n{"


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
        head = await self.head()
        return int(head.split()[1]), await self.body(head)

    async def head(self) -> bytes:
        """Status line and headers of the next answer, in lower case."""
        return (await self.reader.readuntil(b"\r\n\r\n")).lower()

    async def body(self, head: bytes) -> bytes:
        """What follows this head."""
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        return await self.reader.readexactly(length)

    async def problem(self) -> tuple[int, str]:
        """Status and type of the next answer."""
        status, body = await self.answer()
        return status, json.loads(body)["type"]


@dataclass
class Listening:
    """A server that listens."""

    server: Server
    metrics: Metrics
    port: int
    running: asyncio.Task[None]
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def open(self) -> Raw:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", self.port))
        self._writers.append(raw.writer)
        return raw

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def listening(backend: Backend | None = None, **settings: Any) -> AsyncIterator[Listening]:
    """A server of a test's own."""
    metrics = Metrics()
    chosen = Settings(**{"model": "colours", "grpc_port": 0, "drain_seconds": SOON, **settings})
    app = create_app(chosen, backend or KnownBackend(), metrics)
    server = Server(app, app.state.grpc, chosen, 0, "on {url}")
    server.linger = 0.0
    async with asyncio.timeout(SOON):
        running = asyncio.create_task(server.serve())
        await soon(lambda: server.started and app.state.grpc.port)
        here = Listening(server, metrics, server.servers[0].sockets[0].getsockname()[1], running)
        try:
            yield here
        finally:
            here.hang_up()
            server.should_exit = True
            await running
