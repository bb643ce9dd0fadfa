"""The synchronous gRPC connection: unary calls and the video stream."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from typing import Any

import grpc

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Invoke
from lexiseg_client.errors import LexisegError
from lexiseg_client.rpc.calls import OPTIONS, VIDEO, credentials, error_of_rpc, method
from lexiseg_client.rpc.messages import frame_answer, item_message
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import FrameAnswer, StreamItem


class Connection:
    """A gRPC channel to one server. The caller closes a `channel` that it passed in."""

    def __init__(self, address: Address, channel: grpc.Channel | None) -> None:
        self._address = address
        self._channel = channel or _channel(address)
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
        frame_errors: list[Exception] = []
        started = threading.Event()

        def requests() -> Generator[pb.SegmentVideoRequest, None, None]:
            # gRPC runs this generator in its own thread and would only log its exceptions.
            yield first
            try:
                for item in items:
                    yield item_message(item)
            except Exception as error:
                frame_errors.append(error)
                started.wait()  # the first frame may fail before `call` is assigned
                call.cancel()

        path, pack, unpack = VIDEO
        call: Any = self._channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
        started.set()
        try:
            for message in call:
                yield frame_answer(message)
        except grpc.RpcError as error:
            if not frame_errors:
                failed: LexisegError = error_of_rpc(error, self._address.target)
                raise failed from error
        finally:
            call.cancel()
        if frame_errors:
            raise frame_errors[0]


def _channel(address: Address) -> grpc.Channel:
    if address.secure:
        return grpc.secure_channel(address.target, credentials(), OPTIONS)
    return grpc.insecure_channel(address.target, OPTIONS)
