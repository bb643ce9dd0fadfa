"""The client for asyncio: the methods of `Client`, to be awaited, and the driver that carries out their steps."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from lexiseg_client.address import Address, read_address
from lexiseg_client.calling.calls import Calls
from lexiseg_client.calling.mapping import OnError, Progress, checked, map_loop, progress_of
from lexiseg_client.calling.retries import Patience, Retry
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait
from lexiseg_client.client import TIMEOUT, wire_of
from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike
from lexiseg_client.models import Health, Model
from lexiseg_client.question.options import Background, Classes, Options, Unpack
from lexiseg_client.question.vocabulary import Vocabulary, VocabularySummary
from lexiseg_client.rest import RestWire, arguments, reply_of, translated
from lexiseg_client.segmentation import Segmentation
from lexiseg_client.video import FrameAnswer, StreamItem, StreamOptions

if TYPE_CHECKING:
    import grpc

    from lexiseg_client.rpc.loop import Connection
    from lexiseg_client.stubs import segmentation_pb2 as pb


T = TypeVar("T")


class AsyncClient:
    """One lexiseg server, for asyncio. Arguments as of `Client`; `http` and `channel` are those of asyncio."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        retry: Retry | None = None,
        grpc_target: str | None = None,
        http: httpx.AsyncClient | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        address = read_address(url, grpc_target, api_key)
        self._patience = Patience(retry or Retry())
        self._calls = Calls(wire_of(address, self._patience), self._patience, timeout)
        self._loop = Loop(address, http, channel)
        self._run = self._loop.run
        self.vocabularies = AsyncVocabularies(self._loop, RestWire(self._patience), self._calls.until)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._loop.close()

    async def segment(
        self,
        image: ImageLike,
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Segmentation:
        """See `Client.segment`."""
        return await self._run(self._calls.segment(image, classes, options, timeout))

    @overload
    def map(
        self,
        images: Iterable[ImageLike],
        classes: Classes | None = None,
        *,
        concurrency: int = 8,
        progress: bool | Progress | None = None,
        on_error: Literal["raise"] = "raise",
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Segmentation, None]: ...

    @overload
    def map(
        self,
        images: Iterable[ImageLike],
        classes: Classes | None = None,
        *,
        concurrency: int = 8,
        progress: bool | Progress | None = None,
        on_error: OnError,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Segmentation | LexisegError | OSError, None]: ...

    def map(
        self,
        images: Iterable[ImageLike],
        classes: Classes | None = None,
        *,
        concurrency: int = 8,
        progress: bool | Progress | None = None,
        on_error: OnError = "raise",
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Any, None]:
        """See `Client.map`; to be read with `async for`."""
        checked(concurrency, on_error)

        async def ask(image: ImageLike) -> Segmentation:
            return await self.segment(image, classes, timeout=timeout, **options)

        return map_loop(ask, images, concurrency, progress_of(progress), on_error)

    async def models(self, *, timeout: float | None = None) -> list[Model]:
        """See `Client.models`."""
        return await self._run(self._calls.models(timeout))

    async def model(self, name: str, *, timeout: float | None = None) -> Model:
        """See `Client.model`."""
        return await self._run(self._calls.model(name, timeout))

    async def health(self, *, timeout: float | None = None) -> Health:
        """See `Client.health`."""
        return await self._run(self._calls.health(timeout))

    async def wait_until_ready(self, *, timeout: float | None = None) -> Health:
        """See `Client.wait_until_ready`."""
        return await self._run(self._calls.wait_until_ready(timeout))

    def stream(
        self,
        frames: Iterable[StreamItem] | AsyncIterable[StreamItem],
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[StreamOptions],
    ) -> AsyncGenerator[FrameAnswer, None]:
        """See `Client.stream`; to be read with `async for`. Frames that are awaited are taken in the event loop."""
        from lexiseg_client.rpc.calls import GrpcWire  # gRPC is optional
        from lexiseg_client.rpc.messages import config

        first, reach = config(classes, options), GrpcWire(self._patience).reach(self._calls.seconds(timeout))
        return self._loop.stream(first, frames, reach)


class AsyncVocabularies:
    """The named class lists of a server: `client.vocabularies`."""

    def __init__(self, loop: Loop, wire: RestWire, until: Callable[[float | None], float]) -> None:
        self._run = loop.run
        self._wire = wire
        self._until = until

    async def list(self, *, timeout: float | None = None) -> builtins.list[VocabularySummary]:
        """See `Vocabularies.list`."""
        return await self._run(self._wire.vocabularies(self._until(timeout)))

    async def get(self, name: str, *, timeout: float | None = None) -> Vocabulary:
        """See `Vocabularies.get`."""
        return await self._run(self._wire.vocabulary(name, self._until(timeout)))

    async def refresh(self, known: Vocabulary, *, timeout: float | None = None) -> Vocabulary:
        """See `Vocabularies.refresh`."""
        return await self._run(self._wire.refresh_vocabulary(known, self._until(timeout)))

    async def put(
        self,
        name: str,
        classes: Classes,
        *,
        background: bool | Background = True,
        source: str | None = None,
        shared: bool | None = None,
        if_match: str | None = None,
        create_only: bool = False,
        timeout: float | None = None,
    ) -> Vocabulary:
        """See `Vocabularies.put`."""
        call = self._wire.put_vocabulary(
            name,
            classes,
            background=background,
            source=source,
            shared=shared,
            if_match=if_match,
            create_only=create_only,
            until=self._until(timeout),
        )
        return await self._run(call)

    async def delete(self, name: str, *, if_match: str | None = None, timeout: float | None = None) -> None:
        """See `Vocabularies.delete`."""
        await self._run(self._wire.delete_vocabulary(name, if_match, self._until(timeout)))


class Loop:
    """Connections to one server. `http` and `channel` of the user's own stay the user's to close."""

    def __init__(self, address: Address, http: httpx.AsyncClient | None, channel: grpc.aio.Channel | None) -> None:
        self._address = address
        self._http = http or httpx.AsyncClient()
        self._own_http = http is None
        self._channel = channel
        self._connection: Connection | None = None

    async def close(self) -> None:
        """Closes what is open."""
        if self._own_http:
            await self._http.aclose()
        if self._connection is not None:
            await self._connection.close()

    async def run(self, call: Call[T]) -> T:
        """A call's result."""
        try:
            step = next(call)
            while True:
                try:
                    outcome = await self._carry_out(step)
                except Exception as error:
                    step = call.throw(error)
                else:
                    step = call.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            call.close()

    async def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Send):
            keywords = arguments(self._address, step)
            with translated(self._address.url):
                return reply_of(await self._http.request(**keywords))
        if isinstance(step, Invoke):
            return await self._rpc().invoke(step)
        if isinstance(step, Wait):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.task)

    def _rpc(self) -> Connection:
        from lexiseg_client.rpc.loop import Connection  # gRPC is optional

        if self._connection is None:
            self._connection = Connection(self._address, self._channel)
        return self._connection

    async def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem] | AsyncIterable[StreamItem], reach: Call[None]
    ) -> AsyncGenerator[FrameAnswer, None]:
        """Answers in the order of the frames; `reach` is taken first. Ends and errors as of `Connection.stream`."""
        await self.run(reach)
        async with aclosing(self._rpc().stream(first, items)) as answers:
            async for answer in answers:
                yield answer
