"""gRPC connections, synchronous and asyncio: unary calls and the video stream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable
from itertools import islice
from typing import Any

import grpc

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Invoke
from lexiseg_client.errors import LexisegError, Unreachable
from lexiseg_client.rpc.calls import OPTIONS, VIDEO, error_of_rpc, method
from lexiseg_client.rpc.messages import Items
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import FrameAnswer, StreamItem

WRITE_FAILED = "Internal error from Core"  # grpc.aio's message for a failed write


def _channel(address: Address, library: Any) -> Any:
    """A channel of `grpc` or `grpc.aio`; TLS is by the system's certificate authorities."""
    if address.secure:
        return library.secure_channel(address.target, grpc.ssl_channel_credentials(), OPTIONS)
    return library.insecure_channel(address.target, OPTIONS)


class Connection:
    """A gRPC channel to one server. The caller closes a `channel` that it passed in."""

    def __init__(self, address: Address, channel: grpc.Channel | None) -> None:
        self._address = address
        self._channel: Any = channel or _channel(address, grpc)
        self._owns_channel = channel is None

    def close(self) -> None:
        """Close the channel, which ends its calls, unless the caller passed it in."""
        if self._owns_channel:
            self._channel.close()

    def invoke(self, step: Invoke) -> Any:
        """Call a unary method and return its response message.

        Raises:
            ProblemError, Unreachable, TimedOut.
        """
        call = method(self._channel, step)
        try:
            return call(step.message, timeout=step.timeout, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise error_of_rpc(error, self._address.target) from error

    def stream(self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem]) -> Generator[FrameAnswer, None, None]:
        """Send frames and yield answers in frame order, until the frames end or the caller stops.

        Raises:
            LexisegError: no server, the server refuses the stream, or the connection breaks.
            Exception: raised by `items`.
        """
        sending, frame_errors = Items(), list[Exception]()
        started = threading.Event()

        def requests() -> Generator[pb.SegmentVideoRequest, None, None]:
            # gRPC runs this generator in its own thread and would only log its exceptions.
            yield first
            try:
                for item in items:
                    yield sending.message(item)
            except Exception as error:
                frame_errors.append(error)
                started.wait()  # the first frame may fail before `call` is assigned
                call.cancel()

        path, pack, unpack = VIDEO
        call: Any = self._channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
        started.set()
        try:
            for message in call:
                yield sending.answer(message)
        except grpc.RpcError as error:
            if not frame_errors:
                raise error_of_rpc(error, self._address.target) from error
        finally:
            call.cancel()
        if frame_errors:
            raise frame_errors[0]


class AsyncConnection:
    """As `Connection`, in an event loop."""

    def __init__(self, address: Address, channel: grpc.aio.Channel | None) -> None:
        self._address = address
        self._channel: Any = channel or _channel(address, grpc.aio)
        self._owns_channel = channel is None

    async def close(self) -> None:
        """See `Connection.close`."""
        if self._owns_channel:
            await self._channel.close()

    async def invoke(self, step: Invoke) -> Any:
        """See `Connection.invoke`."""
        call = method(self._channel, step)
        try:
            return await call(step.message, timeout=step.timeout, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise error_of_rpc(error, self._address.target) from error

    async def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem] | AsyncIterable[StreamItem]
    ) -> AsyncGenerator[FrameAnswer, None]:
        """See `Connection.stream`."""
        sending, frame_errors = Items(), list[Exception]()
        latest_config = [first]

        async def requests() -> AsyncGenerator[pb.SegmentVideoRequest, None]:
            # gRPC runs this generator in its own task and would only log its exceptions.
            yield first
            try:
                async for item in _as_async(items):
                    message = await asyncio.to_thread(sending.message, item)
                    if message.HasField("config"):
                        latest_config[:] = [message]
                    yield message
            except Exception as error:
                frame_errors.append(error)
                call.cancel()

        path, pack, unpack = VIDEO
        call: Any = self._channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
        try:
            async for message in call:
                yield sending.answer(message)
        except grpc.RpcError as error:
            if not frame_errors:
                raise await self._stream_error(error, latest_config[-1]) from error
        except asyncio.CancelledError:
            # gRPC raises this also when `requests` cancels the call.
            if not frame_errors:
                raise
        finally:
            call.cancel()
        if frame_errors:
            raise frame_errors[0]

    async def _stream_error(self, error: grpc.RpcError, config: Any) -> LexisegError:
        """The exception for a stream that the server ended.

        If a write fails because the server ended the stream, grpc.aio loses the server's status. So the configuration
        is sent once more, without frames, to get that status.
        """
        failed: Any = error
        if failed.details() != WRITE_FAILED:
            return error_of_rpc(error, self._address.target)
        path, pack, unpack = VIDEO
        call: Any = self._channel.unary_stream(path, pack, unpack)(config, metadata=self._address.metadata)
        try:
            async for _ in call:
                pass
        except grpc.RpcError as status:
            return error_of_rpc(status, self._address.target)
        return Unreachable(f"the stream to {self._address.target} broke", is_sent=True)


async def _as_async(items: Iterable[StreamItem] | AsyncIterable[StreamItem]) -> AsyncIterator[StreamItem]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    frames = iter(items)

    def next_item() -> tuple[StreamItem, ...]:  # empty at the end: StopIteration cannot cross a thread
        return tuple(islice(frames, 1))

    while frame := await asyncio.to_thread(next_item):
        yield frame[0]
