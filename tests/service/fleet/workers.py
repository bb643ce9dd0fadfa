"""Real gRPC workers over backends of a few lines, and a remote backend that knows them."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lexiseg_model.cards import ModelCard
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_service.fleet.remote import RemoteBackend
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.server import GrpcServer
from lexiseg_service.worker.grpc_server import worker_server
from loadtests.ports import free_port
from tests.model.stand_in import card
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.waiting import SOON, soon

IMAGES = [f"image {number}".encode() for number in range(40)]


@dataclass
class Someone(KnownBackend):
    """A worker's backend with a model of any name; if it is `held`, answers wait for the gate."""

    name: str = "colours"
    version: str = "1"
    held: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    frames: list[str] = field(default_factory=list)
    questions: list[StreamQuestion] = field(default_factory=list)
    abandoned: int = 0
    digests: str = "digest"

    def __post_init__(self) -> None:
        if not self.held:
            self.gate.set()

    def digest(self, name: str) -> str | None:
        return self.digests

    def cards(self) -> list[ModelCard]:
        return [card(name=self.name).model_copy(update={"version": self.version})]

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        if self.failure:
            raise self.failure
        return answer()

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        async for step in steps:
            if isinstance(step, StreamQuestion):
                self.questions.append(step)
                continue
            self.frames.append(step.id)
            await self.gate.wait()
            yield FrameAnswer(step.id, step.timestamp_us, answer())


@dataclass
class Fleet:
    """Workers by their backends' order, and who asks them."""

    backend: RemoteBackend
    workers: list[Someone]
    servers: list[GrpcServer]
    metrics: Metrics  # of the gateway

    async def until(self, holds: Callable[[], bool]) -> None:
        await soon(holds, SOON)

    async def ready(self, number: int) -> None:
        await self.until(lambda: self.backend.health().detail.startswith(f"{number} of"))

    async def end(self, index: int) -> None:
        """One worker hangs up at once, in the middle of whatever it does."""
        server = self.servers[index]._server
        assert server is not None
        await server.stop(None)

    async def start_again(self, index: int) -> None:
        """On the port that it had."""
        old = self.servers[index]
        settings = Settings(worker_port=old.port, drain_seconds=5)
        self.servers[index] = worker_server(self.workers[index], settings, Metrics())
        await self.servers[index].start()


class Wire:
    """Between a gateway and a worker; while it is cut, bytes are taken and not passed on, as by a stopped process."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.whole = asyncio.Event()
        self.whole.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """The address at its other end."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        self._tasks |= {
            asyncio.ensure_future(self._pump(reader, forth)),
            asyncio.ensure_future(self._pump(back, writer)),
        }

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while content := await reader.read(65536):
                await self.whole.wait()
                writer.write(content)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def started(
    *workers: Someone, ready: int | None = None, theirs: Mapping[str, Any] = {}, own: Mapping[str, Any] = {}
) -> AsyncIterator[Fleet]:
    """All of them started and seen, with more settings: the workers' and the gateway's `own`."""
    async with AsyncExitStack() as stack:
        servers = [
            # a port that nobody takes while a worker is away
            worker_server(worker, Settings(worker_port=free_port(), drain_seconds=5, **theirs), Metrics())
            for worker in workers
        ]
        for server in servers:
            await server.start()
        addresses = tuple(f"127.0.0.1:{server.port}" for server in servers)
        metrics = Metrics()
        backend = RemoteBackend(Settings(workers=addresses, **own), metrics)
        fleet = Fleet(backend, list(workers), servers, metrics)
        stack.push_async_callback(_close_all, fleet)
        await backend.start()
        await fleet.ready(len(workers) if ready is None else ready)
        yield fleet


@asynccontextmanager
async def looking(*workers: str, metrics: Metrics | None = None) -> AsyncIterator[RemoteBackend]:
    """A gateway's end of workers at these addresses."""
    backend = RemoteBackend(Settings(workers=workers), metrics or Metrics())
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def _close_all(fleet: Fleet) -> None:
    await fleet.backend.close()
    await asyncio.gather(*(server.close() for server in fleet.servers))


def question(image: bytes | None = b"image", **fields: object) -> WorkerRequest:
    """A request for red pixels."""
    values: dict[str, object] = {"model": "colours", "deadline": time.monotonic() + SOON, **fields}
    return WorkerRequest(image, Vocabulary((ClassEntry("red"),)), **values)  # type: ignore[arg-type]


def asked_images(worker: Someone) -> set[bytes | None]:
    """The images that it was asked about."""
    return {request.image for request in worker.asked}
