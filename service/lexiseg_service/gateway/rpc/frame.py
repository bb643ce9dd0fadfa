"""What surrounds every call of the public gRPC interface, as guard, frame and problems surround a REST request.

    id, log, count, span -> key -> limits of one client -> message read -> servicer

A ServiceError becomes a rich status.
Health and reflection pass by: probes carry no key.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from structlog.contextvars import bound_contextvars

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, ServiceError, unexpected
from lexiseg_service.gateway.admission.key_file import Keys
from lexiseg_service.gateway.admission.keys import key_of
from lexiseg_service.gateway.admission.limits import Gate, admitted, client_of
from lexiseg_service.gateway.rest.middleware import ACCEPTABLE_ID
from lexiseg_service.gateway.rpc.segmentation import CALLER
from lexiseg_service.gateway.use_case import Caller
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.errors import code_of, end

logger = structlog.get_logger("lexiseg.access")
M = TypeVar("M", bound=Message)
GUARDED = "/lexiseg."  # services of ours; the others are health and reflection
PEER = re.compile(r"ipv[46]:(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):\d+")
if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]


class CallFrame(grpc.aio.ServerInterceptor):
    """Lets known keys in, reads their messages, tells errors; logs, counts and traces each call."""

    def __init__(
        self, keys: Keys, gate: Gate | None, metrics: Metrics, patience: float, tracing: Tracing | None = None
    ) -> None:
        self._keys = keys
        self._gate = gate
        self._metrics = metrics
        self._patience = patience  # seconds, with a client that takes no answers
        self._tracing = tracing
        self._running = 0

    @property
    def running(self) -> int:
        """Calls that are not over."""
        return self._running

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, framed."""
        handler = await continuation(details)
        if handler is None or not details.method.startswith(GUARDED):
            return handler
        read = handler.request_deserializer

        if handler.unary_unary is not None:
            answer_one = cast("Callable[..., Awaitable[Any]]", handler.unary_unary)

            async def unary(content: bytes, context: Context) -> Any:
                async with self._framed(details, context):
                    return await answer_one(_read(read, content), context)

            return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

        # grpcio types its handlers for threads alone.
        answer_all = cast("Callable[..., AsyncGenerator[Any, None]]", handler.stream_stream)

        async def messages(contents: AsyncIterator[bytes]) -> AsyncGenerator[Any, None]:
            async for content in contents:
                yield _read(read, content)

        # Writes, and does not yield: a client that leaves would let a suspended generator lie until somebody finds it.
        async def stream(contents: AsyncIterator[bytes], context: Context) -> None:
            async with (
                self._framed(details, context),
                aclosing(messages(contents)) as questions,
                aclosing(answer_all(questions, context)) as answers,
            ):
                async for answer in answers:
                    await self._hand_over(answer, context, answers)

        return grpc.stream_stream_rpc_method_handler(stream, None, handler.response_serializer)

    async def _hand_over(self, answer: Any, context: Context, answers: AsyncGenerator[Any, None]) -> None:
        """Writes an answer; a client that does not take it in time loses what its stream holds.

        The call itself ends when the client reads on or goes: a write that was begun cannot be taken back.

        Raises:
            DeadlineExceeded: the answer was not taken in time.
        """
        writing = asyncio.ensure_future(context.write(answer))
        try:
            await asyncio.wait({writing}, timeout=self._patience)
            if writing.done():
                return await writing
            await answers.aclose()
            await writing
        finally:
            writing.cancel()  # when the client goes in the middle
        raise DeadlineExceeded(f"no answer was taken for {self._patience:g} seconds; the stream is ended")

    @asynccontextmanager
    async def _framed(self, details: grpc.HandlerCallDetails, context: Context) -> AsyncIterator[None]:
        began = time.monotonic()
        metadata = {name: value for name, value in details.invocation_metadata or () if isinstance(value, str)}
        wished = metadata.get("x-request-id", "")
        identity = wished if ACCEPTABLE_ID.fullmatch(wished) else uuid.uuid4().hex
        context.set_trailing_metadata((("x-request-id", identity),))
        span = None if self._tracing is None else self._tracing.begin_call(details.method, metadata)
        on_each_line = {"request_id": identity, **({} if span is None else {"trace_id": span.trace_id})}
        key_id: str | None = None
        code = grpc.StatusCode.OK
        self._running += 1
        try:
            with bound_contextvars(**on_each_line):
                key_id = self._keys.identify(key_of(metadata.get("authorization"), metadata.get("x-api-key")))
                async with AsyncExitStack() as stack:
                    stack.enter_context(bound_contextvars(key_id=key_id))
                    client = client_of(key_id, address_of(context.peer()))
                    if self._gate is not None:
                        await stack.enter_async_context(admitted(self._gate, client))
                    left = context.time_remaining()
                    traceparent = None if span is None else span.traceparent
                    seconds = float("inf") if left is None else left
                    CALLER.set(Caller(key_id or "", client, identity, traceparent, seconds))
                    yield
        except asyncio.CancelledError:  # the client went, or its deadline passed
            code = grpc.StatusCode.CANCELLED
            raise
        except ServiceError as error:
            code = code_of(error)
            await end(context, error, identity, (("x-request-id", identity),))
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            logger.error("unexpected error", error=type(error).__name__, key_id=key_id, exc_info=error, **on_each_line)
            await end(context, unexpected(), identity, (("x-request-id", identity),))
        finally:
            self._running -= 1
            self._metrics.calls.labels(details.method, code.name).inc()
            logger.info(
                "call",
                key_id=key_id,
                method=details.method,
                code=code.name,
                milliseconds=round(1e3 * (time.monotonic() - began), 1),
                **on_each_line,
            )
            if span is not None:
                span.end_call(code.name, identity, key_id)


def address_of(peer: str) -> str | None:
    """The address in a peer as gRPC writes it: `ipv4:127.0.0.1:4711`, `ipv6:%5B::1%5D:4711`, `unix:...`."""
    address = PEER.fullmatch(unquote(peer))
    return None if address is None else address["six"] or address["four"]


def _read(read: Callable[[bytes], M] | None, content: bytes) -> M:
    """A message.

    Raises:
        MalformedRequest: these bytes are none.
    """
    assert read is not None
    try:
        return read(content)
    except DecodeError:
        raise MalformedRequest(f"{len(content):,} bytes that are no message of this method") from None
