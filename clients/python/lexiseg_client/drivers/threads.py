"""The driver for threads: carries out a call's steps, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

import grpc
import httpx

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait
from lexiseg_client.errors import LexisegError
from lexiseg_client.rest.http import arguments, reply_of, translated
from lexiseg_client.rpc.channels import OPTIONS, VIDEO, credentials, method
from lexiseg_client.rpc.errors import error_of_rpc
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import FrameAnswer, StreamItem, message_of, read_answer

T = TypeVar("T")


class Threads:
    """Connections to one server. `http` and `channel` of the user's own stay the user's to close."""

    def __init__(self, address: Address, http: httpx.Client | None, channel: grpc.Channel | None) -> None:
        self._address = address
        self._http = http or httpx.Client()
        self._own_http = http is None
        self._channel = channel
        self._own_channel = channel is None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes what is open."""
        if self._own_http:
            self._http.close()
        if self._own_channel and self._channel is not None:
            self._channel.close()

    def run(self, call: Call[T]) -> T:
        """A call's result."""
        try:
            step = next(call)
            while True:
                try:
                    outcome = self._carry_out(step)
                except Exception as error:
                    step = call.throw(error)
                else:
                    step = call.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            call.close()

    def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Send):
            given = arguments(self._address, step)
            with translated(self._address.url):
                return reply_of(self._http.request(**given))
        if isinstance(step, Invoke):
            try:
                return method(self._open(), step)(step.message, timeout=step.timeout, metadata=self._address.metadata)
            except grpc.RpcError as error:
                raise error_of_rpc(error, self._address.target) from error
        if isinstance(step, Wait):
            return time.sleep(step.seconds)
        return step.task()

    def _open(self) -> grpc.Channel:
        with self._lock:
            if self._channel is None:
                self._channel = (
                    grpc.secure_channel(self._address.target, credentials(), OPTIONS)
                    if self._address.secure
                    else grpc.insecure_channel(self._address.target, OPTIONS)
                )
            return self._channel

    def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem], reach: Call[None]
    ) -> Generator[FrameAnswer, None, None]:
        """Answers in the order of the frames. Ends when the frames do, or with the loop that reads it.

        Raises:
            LexisegError: the server cannot be reached, refuses the question, or the stream breaks.
            Exception: whatever the frames raise.
        """
        channel = self._open()
        self.run(reach)
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
        call: Any = channel.stream_stream(path, pack, unpack)(requests(), metadata=self._address.metadata)
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
