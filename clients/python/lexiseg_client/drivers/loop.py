"""The driver for asyncio: carries out a call's steps without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from itertools import islice
from typing import Any, TypeVar

import grpc
import httpx

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait
from lexiseg_client.errors import LexisegError, Unreachable
from lexiseg_client.rest.http import arguments, reply_of, translated
from lexiseg_client.rpc.channels import OPTIONS, VIDEO, credentials, method
from lexiseg_client.rpc.errors import error_of_rpc
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import FrameAnswer, StreamItem, message_of, read_answer

T = TypeVar("T")
WRITE_FAILED = "Internal error from Core"  # grpc.aio's own words


class Loop:
    """Connections to one server. `http` and `channel` of the user's own stay the user's to close."""

    def __init__(self, address: Address, http: httpx.AsyncClient | None, channel: grpc.aio.Channel | None) -> None:
        self._address = address
        self._http = http or httpx.AsyncClient()
        self._own_http = http is None
        self._channel = channel
        self._own_channel = channel is None

    async def close(self) -> None:
        """Closes what is open."""
        if self._own_http:
            await self._http.aclose()
        if self._own_channel and self._channel is not None:
            await self._channel.close()

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
            given = arguments(self._address, step)
            with translated(self._address.url):
                return reply_of(await self._http.request(**given))
        if isinstance(step, Invoke):
            try:
                call = method(self._open(), step)(step.message, timeout=step.timeout, metadata=self._address.metadata)
                return await call
            except grpc.RpcError as error:
                raise error_of_rpc(error, self._address.target) from error
        if isinstance(step, Wait):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.task)

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = (
                grpc.aio.secure_channel(self._address.target, credentials(), OPTIONS)
                if self._address.secure
                else grpc.aio.insecure_channel(self._address.target, OPTIONS)
            )
        return self._channel

    async def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem] | AsyncIterable[StreamItem], reach: Call[None]
    ) -> AsyncGenerator[FrameAnswer, None]:
        """Answers in the order of the frames. Ends when the frames do, or with the loop that reads it.

        Raises:
            LexisegError: the server cannot be reached, refuses the question, or the stream breaks.
            Exception: whatever the frames raise.
        """
        channel = self._open()
        await self.run(reach)
        raised: list[Exception] = []
        asked = [first]

        async def requests() -> AsyncGenerator[pb.SegmentVideoRequest, None]:
            # Runs in a task of gRPC's, which would only log what the frames raise.
            yield first
            try:
                async for item in _each(items):
                    message = await asyncio.to_thread(message_of, item)
                    if message.HasField("config"):
                        asked[:] = [message]
                    yield message
            except Exception as error:
                raised.append(error)
                call.cancel()

        path, pack, unpack = VIDEO
        call: Any = channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
        try:
            async for message in call:
                yield read_answer(message)
        except grpc.RpcError as error:
            if not raised:
                raise await self._last_word(channel, error, asked[-1]) from error
        except asyncio.CancelledError:
            # Ours, told by gRPC as if the task had been cancelled, or somebody's who really cancels it.
            if not raised:
                raise
        finally:
            call.cancel()
        if raised:
            raise raised[0]

    async def _last_word(self, channel: grpc.aio.Channel, error: grpc.RpcError, question: Any) -> LexisegError:
        """Why a stream ended.

        A frame that is written in the moment when the server ends the stream fails by itself, and grpc.aio takes that
        for the end and loses the server's word. So it is asked once more, without frames.
        """
        lost: Any = error
        if lost.details() != WRITE_FAILED:
            return error_of_rpc(error, self._address.target)
        path, pack, unpack = VIDEO
        call: Any = channel.stream_stream(path, pack, unpack)(iter([question]), metadata=self._address.metadata)
        try:
            async for _ in call:
                pass
        except grpc.RpcError as word:
            return error_of_rpc(word, self._address.target)
        return Unreachable(f"the stream to {self._address.target} broke", sent=True)


async def _each(items: Iterable[StreamItem] | AsyncIterable[StreamItem]) -> AsyncIterator[StreamItem]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    frames = iter(items)

    def following() -> tuple[StreamItem, ...]:
        return tuple(islice(frames, 1))

    # A camera or a decoder may take its time for the next frame.
    while found := await asyncio.to_thread(following):
        yield found[0]
