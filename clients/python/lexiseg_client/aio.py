"""`AsyncClient`: the methods of `Client` as coroutines, which execute the same steps in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from lexiseg_client.calling.mapping import Images, MapOptions, OnError, check_several, map_async, map_plan
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait, awaited
from lexiseg_client.client import Client, ConnectedClient
from lexiseg_client.errors import LexisegError
from lexiseg_client.heads import AsyncHeads
from lexiseg_client.jobs import AsyncJobs
from lexiseg_client.question import Classes, Unpack
from lexiseg_client.rest import Connecting, arguments, translate_errors
from lexiseg_client.video import FrameAnswer, NewQuestion, StreamItem, StreamOptions
from lexiseg_client.vocabularies import AsyncVocabularies
from lexiseg_labels.segmentation import Segmentation

if TYPE_CHECKING:
    from lexiseg_client.rpc.connections import AsyncConnection
    from lexiseg_client.stubs import segmentation_pb2 as pb


T = TypeVar("T")


class AsyncClient(ConnectedClient[httpx.AsyncClient]):
    """Asyncio client of one lexiseg server.

    Arguments as for `Client`; `http` and `channel` are asyncio ones. Each event loop gets connections of its own, so
    that one client may serve several `asyncio.run`, one after the other.
    """

    _library = httpx.AsyncClient
    _connection: AsyncConnection | None
    vocabularies = cached_property(AsyncVocabularies)
    heads = cached_property(AsyncHeads)
    jobs = cached_property(AsyncJobs)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that this client opened."""
        if not self._is_closed:
            self._enter(asyncio.get_running_loop())  # nobody can close connections of another one from here
        self._is_closed = True
        if self._callers_http is None:
            await self._http.aclose()
        if self._connection is not None:
            await self._connection.close()

    segment = awaited(Client.segment)
    models = awaited(Client.models)
    model = awaited(Client.model)
    health = awaited(Client.health)
    wait_until_ready = awaited(Client.wait_until_ready)

    @overload
    def map(
        self,
        images: Images,
        classes: Classes | None = None,
        *,
        on_error: Literal["raise"] = "raise",
        **options: Unpack[MapOptions],
    ) -> AsyncGenerator[Segmentation, None]: ...

    @overload
    def map(
        self,
        images: Images,
        classes: Classes | None = None,
        *,
        on_error: OnError,
        **options: Unpack[MapOptions],
    ) -> AsyncGenerator[Segmentation | LexisegError | OSError, None]: ...

    def map(
        self,
        images: Images,
        classes: Classes | None = None,
        *,
        on_error: OnError = "raise",
        **options: Unpack[MapOptions],
    ) -> AsyncGenerator[Any, None]:
        """See `Client.map`; iterate with `async for`."""
        plan = map_plan(images, on_error, options)
        return map_async(
            lambda image: self._run(self._calls.outcome(image, classes, plan)), plan.images, plan.concurrency, plan.step
        )

    def stream(
        self,
        frames: Iterable[StreamItem] | AsyncIterable[StreamItem],
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[StreamOptions],
    ) -> AsyncGenerator[FrameAnswer, None]:
        """See `Client.stream`; iterate with `async for`. An async iterable of frames runs in the event loop."""
        check_several(frames, "frames: expected several")
        connect = self._calls.connect(timeout, self._channel is not None)
        from lexiseg_client.rpc.messages import stream_config  # gRPC is optional

        return self._answers(connect, stream_config(NewQuestion(classes, **options)), frames)

    async def _answers(
        self,
        connect: Call[None],
        first: pb.SegmentVideoRequest,
        items: Iterable[StreamItem] | AsyncIterable[StreamItem],
    ) -> AsyncGenerator[FrameAnswer, None]:
        await self._run(connect)
        async with aclosing(self._rpc().stream(first, items)) as answers:
            async for answer in answers:
                yield answer

    async def _run(self, call: Call[T]) -> T:
        """Execute a call's steps and return its result. Raises ClosedClient."""
        self._enter(asyncio.get_running_loop())
        try:
            step = next(call)
            while True:
                try:
                    outcome = await self._execute(step)
                except Exception as error:
                    step = call.throw(error)
                else:
                    step = call.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            call.close()

    async def _execute(self, step: Step) -> Any:
        if isinstance(step, Send):
            keywords, connecting = arguments(self._calls.address, step), Connecting()
            with translate_errors(self._calls.address.url, connecting):
                reply = await self._http.request(**keywords, extensions={"trace": connecting.trace_async})
                return connecting.of_server(reply, self._calls.address.url)
        if isinstance(step, Invoke):
            return await self._rpc().invoke(step)
        if isinstance(step, Wait):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.task)

    def _rpc(self) -> AsyncConnection:
        from lexiseg_client.rpc.connections import AsyncConnection  # gRPC is optional

        if self._connection is None:
            self._connection = AsyncConnection(self._calls.address, self._channel)
        return self._connection
