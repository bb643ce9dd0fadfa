"""A connection over gRPC, for threads."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from typing import Any

import grpc

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Invoke
from lexiseg_client.errors import LexisegError
from lexiseg_client.rpc.calls import OPTIONS, VIDEO, credentials, error_of_rpc, method
from lexiseg_client.rpc.messages import message_of, read_answer
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import FrameAnswer, StreamItem


class Connection:
    """A channel to one server; `channel` is the user's own, and stays the user's to close."""

    def __init__(self, address: Address, channel: grpc.Channel | None) -> None:
        self._address = address
        self._channel = channel or _channel(address)
        self._own = channel is None

    def close(self) -> None:
        """Ends the calls on a channel of ours."""
        if self._own:
            self._channel.close()

    def invoke(self, step: Invoke) -> Any:
        """The answer to one message.

        Raises:
            ProblemError, Unreachable, TimedOut.
        """
        call = method(self._channel, step)
        try:
            return call(step.message, timeout=step.timeout, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise error_of_rpc(error, self._address.target) from error

    def stream(self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem]) -> Generator[FrameAnswer, None, None]:
        """Answers in the order of the frames. Ends when the frames do, or with the loop that reads it.

        Raises:
            LexisegError: the server cannot be reached, refuses the question, or the stream breaks.
            Exception: whatever the frames raise.
        """
        raised: list[Exception] = []
        begun = threading.Event()

        def requests() -> Generator[pb.SegmentVideoRequest, None, None]:
            # Runs in a thread of gRPC's, which would only log what the frames raise.
            yield first
            try:
                for item in items:
                    yield message_of(item)
            except Exception as error:
                raised.append(error)
                begun.wait()  # the first frame may fail before there is a call to end
                call.cancel()

        path, pack, unpack = VIDEO
        call: Any = self._channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
        begun.set()
        try:
            for message in call:
                yield read_answer(message)
        except grpc.RpcError as error:
            if not raised:
                failed: LexisegError = error_of_rpc(error, self._address.target)
                raise failed from error
        finally:
            call.cancel()
        if raised:
            raise raised[0]


def _channel(address: Address) -> grpc.Channel:
    if address.secure:
        return grpc.secure_channel(address.target, credentials(), OPTIONS)
    return grpc.insecure_channel(address.target, OPTIONS)
