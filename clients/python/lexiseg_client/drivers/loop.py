"""The driver for asyncio: carries out a call's steps without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait
from lexiseg_client.rest import arguments, reply_of, translated
from lexiseg_client.video import FrameAnswer, StreamItem

if TYPE_CHECKING:
    import grpc

    from lexiseg_client.rpc.loop import Connection
    from lexiseg_client.stubs import segmentation_pb2 as pb

T = TypeVar("T")


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
