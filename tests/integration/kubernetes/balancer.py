"""A stand-in for a Kubernetes Service: one address, balanced over the pods that were ready a moment ago."""

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.waiting import SOON

CHUNK = 64 * 2**10


class Balancer:
    """Connections are balanced and left alone afterwards, as kube-proxy does it."""

    def __init__(self, addresses: Callable[[], Sequence[str]], port: int, lag: float) -> None:
        self._addresses = addresses
        self._pod_port = port
        self._lag = lag  # seconds until a change of them is known here, as on a node far away
        self.known: list[str] = []  # those that connections go to
        self._loop = asyncio.new_event_loop()
        self._pipes: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(SOON)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(SOON)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        self._watching = asyncio.create_task(self._watch())
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _watch(self) -> None:
        while True:
            addresses = list(self._addresses())
            await asyncio.sleep(self._lag)
            self.known = addresses

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            if self.known:
                with suppress(OSError):
                    there = await asyncio.open_connection(random.choice(self.known), self._pod_port)
                    await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            writer.close()
            self._pipes.discard(task)

    async def _close(self) -> None:
        self._watching.cancel()
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
