"""A connection over gRPC, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from itertools import islice
from typing import Any

import grpc

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Invoke
from lexiseg_client.errors import LexisegError, Unreachable
from lexiseg_client.rpc.calls import OPTIONS, VIDEO, credentials, error_of_rpc, method
from lexiseg_client.rpc.messages import message_of, read_answer
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import FrameAnswer, StreamItem

WRITE_FAILED = "Internal error from Core"  # grpc.aio's own words


class Connection:
    """A channel to one server; `channel` is the user's own, and stays the user's to close."""

    def __init__(self, address: Address, channel: grpc.aio.Channel | None) -> None:
        self._address = address
        self._channel = channel or _channel(address)
        self._own = channel is None

    async def close(self) -> None:
        """Ends the calls on a channel of ours."""
        if self._own:
            await self._channel.close()

    async def invoke(self, step: Invoke) -> Any:
        """The answer to one message.

        Raises:
            ProblemError, Unreachable, TimedOut.
        """
        call = method(self._channel, step)
        try:
            return await call(step.message, timeout=step.timeout, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise error_of_rpc(error, self._address.target) from error

    async def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem] | AsyncIterable[StreamItem]
    ) -> AsyncGenerator[FrameAnswer, None]:
        """Answers in the order of the frames. Ends when the frames do, or with the loop that reads it.

        Raises:
            LexisegError: the server cannot be reached, refuses the question, or the stream breaks.
            Exception: whatever the frames raise.
        """
        raised: list[Exception] = []
        configs = [first]

        async def requests() -> AsyncGenerator[pb.SegmentVideoRequest, None]:
            # Runs in a task of gRPC's, which would only log what the frames raise.
            yield first
            try:
                async for item in _each(items):
                    message = await asyncio.to_thread(message_of, item)
                    if message.HasField("config"):
                        configs[:] = [message]
                    yield message
            except Exception as error:
                raised.append(error)
                call.cancel()

        path, pack, unpack = VIDEO
        call: Any = self._channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
        try:
            async for message in call:
                yield read_answer(message)
        except grpc.RpcError as error:
            if not raised:
                raise await self._reason_of_end(error, configs[-1]) from error
        except asyncio.CancelledError:
            # gRPC reports our own cancellation of the call like one of the task.
            if not raised:
                raise
        finally:
            call.cancel()
        if raised:
            raise raised[0]

    async def _reason_of_end(self, error: grpc.RpcError, question: Any) -> LexisegError:
        """The reason why a stream ended.

        If a frame is written while the server ends the stream, grpc.aio reports the failed write and loses the
        server's status. So the question is sent once more, without frames, as a call with a single request message.
        """
        lost: Any = error
        if lost.details() != WRITE_FAILED:
            return error_of_rpc(error, self._address.target)
        path, pack, unpack = VIDEO
        call: Any = self._channel.unary_stream(path, pack, unpack)(question, metadata=self._address.metadata)
        try:
            async for _ in call:
                pass
        except grpc.RpcError as word:
            return error_of_rpc(word, self._address.target)
        return Unreachable(f"the stream to {self._address.target} broke", sent=True)


def _channel(address: Address) -> grpc.aio.Channel:
    if address.secure:
        return grpc.aio.secure_channel(address.target, credentials(), OPTIONS)
    return grpc.aio.insecure_channel(address.target, OPTIONS)


async def _each(items: Iterable[StreamItem] | AsyncIterable[StreamItem]) -> AsyncIterator[StreamItem]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    frames = iter(items)

    def following() -> tuple[StreamItem, ...]:
        return tuple(islice(frames, 1))

    # A camera or a decoder may take its time for the next frame.
    while next_items := await asyncio.to_thread(following):
        yield next_items[0]
