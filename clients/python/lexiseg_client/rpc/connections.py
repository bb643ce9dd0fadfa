"""The gRPC transport: requests, connections for unary calls and the video stream, errors as this package's."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import grpc

from lexiseg_client.address import USER_AGENT, Address
from lexiseg_client.calling.steps import Call, Invoke, Retry, with_retries
from lexiseg_client.errors import (
    LexisegError,
    NoServer,
    NoSuchHost,
    Problem,
    ProblemError,
    ProxyFailed,
    TimedOut,
    UnknownModel,
    Unreachable,
    UntrustedCertificate,
    WrongScheme,
    error_of,
    problem_here,
    untrusted_text,
)
from lexiseg_client.images import Source
from lexiseg_client.rest import Health, Model
from lexiseg_client.rpc.details import problem_in
from lexiseg_client.rpc.messages import Items, models, problem_error, segment_request, segmentation
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_client.video import FrameAnswer, StreamItem
from lexiseg_labels.segmentation import Segmentation

# HTTP status of errors without a problem document, which come from gRPC itself or a proxy.
STATUS_OF: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,  # gRPC's code for a message above its size limit
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
# Details of a locally cancelled call; any other CANCELLED comes from the server.
NO_NAME = "Domain name not found"
CANCELLED_HERE = ("Locally cancelled by application!", "Channel closed!")
MAX_MESSAGE_BYTES = 24 * 2**20  # that servers take by default
# In the details of a connection that failed.
UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED[^:]*:[^:]*|Hostname Verification Check failed")
CONNECTED_PORT = re.compile(r"last error: \S+ ipv[46]:\S*:([0-9]+): ")
SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse with status = SERVING
SETTINGS: tuple[tuple[str, int], ...] = (
    # Overlays and label maps arrive in one message; the server limits requests.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Proxies drop idle connections, and streams may be idle for long.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # The longer of the two timeouts applies; this one defaults to a minute.
    ("grpc.http2.ping_timeout_ms", 20_000),
    # Reconnect quickly: `with_retries` does the backoff.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
OPTIONS: tuple[tuple[str, int | str], ...] = (*SETTINGS, ("grpc.primary_user_agent", USER_AGENT))
HEALTH = "/grpc.health.v1.Health/Check"
VIDEO = (
    "/lexiseg.v1.Segmentation/SegmentVideo",
    pb.SegmentVideoRequest.SerializeToString,
    pb.SegmentVideoResponse.FromString,
)


class GrpcTransport:
    """Transport for grpc and grpcs addresses; its methods are `RestTransport`'s."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry

    def segment(self, source: Source, question: Mapping[str, Any], deadline: float) -> Call[Segmentation]:
        return with_retries(Invoke("Segment", segment_request(source, question)), segmentation, self._retry, deadline)

    def models(self, deadline: float) -> Call[list[Model]]:
        return with_retries(Invoke("ListModels", pb.ListModelsRequest()), models, self._retry, deadline)

    def model(self, name: str, deadline: float) -> Call[Model]:
        available = yield from self.models(deadline)
        for model in available:
            if name in (model.name, f"{model.name}@{model.version}"):
                return model
        names = ", ".join(model.name for model in available)
        raise UnknownModel(problem_here("unknown-model", f"no model {name!r} here; there is: {names}"))

    def connect(self, deadline: float) -> Call[None]:
        """Retry until the server answers a health check, so that a stream starts on an open connection."""
        with suppress(ProblemError):
            yield from with_retries(Invoke("Check", b""), bytes, self._retry, deadline)

    def health(self, timeout: float) -> Call[Health]:
        answer: bytes = yield Invoke("Check", b"", timeout=timeout)
        ready = answer == SERVING
        return Health(alive=True, ready=ready, detail="serving" if ready else "not serving")


def error_of_rpc(error: grpc.RpcError, target: str, n_bytes: int = 0) -> LexisegError:
    """The exception for a failed call with a message of `n_bytes`: from the problem in its details, else its code."""
    failed: Any = error  # also a grpc.Call, which grpc's type stubs do not say
    code: grpc.StatusCode = failed.code()
    details = failed.details() or code.name
    problem = problem_in(failed.trailing_metadata())
    if problem is not None:
        return problem_error(problem)
    if code is grpc.StatusCode.UNAVAILABLE and (reason := UNTRUSTED.search(details)):
        return UntrustedCertificate(untrusted_text(target, reason[0]), is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE and "Failed parsing HTTP/2" in details:
        return WrongScheme(f"{target} does not speak gRPC: write http://{target} for REST", is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE and "WRONG_VERSION_NUMBER" in details:
        text = (
            f"{target} speaks without TLS: write {target} for gRPC, or http://{target} for REST, not grpcs://{target}"
        )
        return WrongScheme(text, is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE and _is_of_proxy(details, target):
        return ProxyFailed(f"the proxy on the way to {target} does not answer, or refuses ({details})", is_sent=False)
    if code is grpc.StatusCode.UNAVAILABLE:
        kind = NoSuchHost if NO_NAME in details else NoServer
        return kind(f"no server answers at {target} ({details})", is_sent=True)
    if code is grpc.StatusCode.CANCELLED and n_bytes > MAX_MESSAGE_BYTES:  # HAProxy 2.6 loses why
        text = f"{target} ended the call of {n_bytes:,} bytes; servers take {MAX_MESSAGE_BYTES:,} by default"
        return error_of(Problem("too-large", code.name, 413, text))
    if code is grpc.StatusCode.CANCELLED and details not in CANCELLED_HERE:
        # A gRPC server that shuts down cancels calls that it has not started (grpc/grpc issue 41785).
        return Unreachable(f"the server at {target} cancelled the call ({details})", is_sent=True)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"{target} did not answer in time")
    return error_of(Problem("about:blank", code.name, STATUS_OF.get(code, 500), details))


def _size(step: Invoke) -> int:
    return 0 if isinstance(step.message, bytes) else int(step.message.ByteSize())


def _is_of_proxy(details: str, target: str) -> bool:
    """Whether gRPC failed to connect to another port than the target's, which is that of a proxy."""
    port = CONNECTED_PORT.search(details)
    return "HTTP proxy returned" in details or (port is not None and port[1] != target.rpartition(":")[2])


WRITE_FAILED = "Internal error from Core"  # grpc.aio's message for a failed write


class _Channel:
    """A channel of `library` to one server, or one that the caller passed in and closes. TLS is by the system's CAs."""

    library: Any

    def __init__(self, address: Address, channel: Any) -> None:
        self._address = address
        self._owns_channel = channel is None
        if channel is None and address.secure:
            channel = self.library.secure_channel(address.target, grpc.ssl_channel_credentials(), OPTIONS)
        self._channel = channel or self.library.insecure_channel(address.target, OPTIONS)

    def _call(self, step: Invoke) -> Any:
        # Messages of the check stay bytes, which saves a dependency on their stubs.
        is_check = step.method == "Check"
        call = self._channel.unary_unary(HEALTH) if is_check else getattr(SegmentationStub(self._channel), step.method)
        return call(step.message, timeout=step.timeout, metadata=self._address.metadata)

    def _start_video(self, requests: Any) -> Any:
        return self._channel.stream_stream(*VIDEO)(requests, metadata=self._address.metadata)


class Connection(_Channel):
    """Unary calls and the video stream."""

    library = grpc

    def close(self) -> None:
        """Close the channel, which ends its calls, unless the caller passed it in."""
        if self._owns_channel:
            self._channel.close()

    def invoke(self, step: Invoke) -> Any:
        """Call a unary method and return its response message. Raises ProblemError, Unreachable, TimedOut."""
        try:
            return self._call(step)
        except grpc.RpcError as error:
            raise error_of_rpc(error, self._address.target, _size(step)) from error

    def stream(self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem]) -> Generator[FrameAnswer, None, None]:
        """Send frames and yield answers in frame order, until the frames end or the caller stops."""
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

        call = self._start_video(requests())
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


class AsyncConnection(_Channel):
    """As `Connection`, in an event loop."""

    library = grpc.aio

    async def close(self) -> None:
        if self._owns_channel:
            await self._channel.close()

    async def invoke(self, step: Invoke) -> Any:
        try:
            return await self._call(step)
        except grpc.RpcError as error:
            raise error_of_rpc(error, self._address.target, _size(step)) from error

    async def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem] | AsyncIterable[StreamItem]
    ) -> AsyncGenerator[FrameAnswer, None]:
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

        call = self._start_video(requests())
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
        call = self._channel.unary_stream(*VIDEO)(config, metadata=self._address.metadata)
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
