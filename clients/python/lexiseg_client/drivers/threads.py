"""The driver for threads: carries out a call's steps, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from lexiseg_client.address import Address
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait
from lexiseg_client.rest import arguments, reply_of, translated
from lexiseg_client.video import FrameAnswer, StreamItem

if TYPE_CHECKING:
    import grpc

    from lexiseg_client.rpc.threads import Connection
    from lexiseg_client.stubs import segmentation_pb2 as pb

T = TypeVar("T")


class Threads:
    """Connections to one server. `http` and `channel` of the user's own stay the user's to close."""

    def __init__(self, address: Address, http: httpx.Client | None, channel: grpc.Channel | None) -> None:
        self._address = address
        self._http = http or httpx.Client()
        self._own_http = http is None
        self._channel = channel
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes what is open."""
        if self._own_http:
            self._http.close()
        if self._connection is not None:
            self._connection.close()

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
            keywords = arguments(self._address, step)
            with translated(self._address.url):
                return reply_of(self._http.request(**keywords))
        if isinstance(step, Invoke):
            return self._rpc().invoke(step)
        if isinstance(step, Wait):
            return time.sleep(step.seconds)
        return step.task()

    def _rpc(self) -> Connection:
        from lexiseg_client.rpc.threads import Connection  # gRPC is optional

        with self._lock:
            if self._connection is None:
                self._connection = Connection(self._address, self._channel)
            return self._connection

    def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem], reach: Call[None]
    ) -> Generator[FrameAnswer, None, None]:
        """Answers in the order of the frames; `reach` is taken first. Ends and errors as of `Connection.stream`."""
        self.run(reach)
        yield from self._rpc().stream(first, items)
