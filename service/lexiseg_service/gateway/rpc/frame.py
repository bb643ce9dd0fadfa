"""What surrounds every call of the public gRPC interface, as guard, frame and problems surround a REST request.

    id, log, count, span -> key -> limits of one client -> room for the message -> message read -> servicer
    -> room for the answer -> answer taken

Every method is served as one that reads a stream, which is the same on the wire: gRPC would read the message of any
other before we see so much as a key. What is not read, flow control keeps with its sender.

A ServiceError becomes a rich status.
Health and reflection pass by: probes carry no key, and have a frame of their own (`open_calls`).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from structlog.contextvars import bound_contextvars

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, ServiceError, TooLarge, unexpected
from lexiseg_service.gateway.admission.door import Door
from lexiseg_service.gateway.admission.keys import key_of
from lexiseg_service.gateway.admission.limits import admitted, client_of
from lexiseg_service.gateway.rest.http1.long_answers import PIECE
from lexiseg_service.gateway.rest.large_bodies import LARGE
from lexiseg_service.gateway.rest.middleware import ACCEPTABLE_ID
from lexiseg_service.gateway.rpc.asking import CALLER
from lexiseg_service.gateway.rpc.fields import has_more_values
from lexiseg_service.gateway.rpc.open_calls import OpenCalls
from lexiseg_service.gateway.rpc.peers import address_of
from lexiseg_service.gateway.turns import Turns
from lexiseg_service.gateway.use_case import Caller
from lexiseg_service.question.json_text import most_values
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Hold
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.arriving import Arriving
from lexiseg_service.wire.errors import code_of, end
from lexiseg_service.wire.floods import Messages, Said, accounted
from lexiseg_service.wire.leaving import Calls, hang_up
from lexiseg_service.wire.received import received

logger = structlog.get_logger("lexiseg.access")
M = TypeVar("M", bound=Message)
VALUES_HERE = 2048  # of a message, that are read on the event loop; more would keep it from other calls
OPEN = ("/grpc.health.", "/grpc.reflection.")  # to those without a key
if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]


class _Framed:
    """A call that was let in."""

    caller: Caller
    answered = 0.0  # when the one answer of a call was there; 0: not yet


class CallFrame(grpc.aio.ServerInterceptor):
    """Lets known keys in, reads their messages, tells errors; logs, counts and traces each call."""

    def __init__(
        self,
        door: Door,
        settings: Settings,
        metrics: Metrics,
        turns: Turns,
        tracing: Tracing | None = None,
        waiting: Callable[[], int] = int,
    ) -> None:
        """All calls of a server.

        Args:
            door: who comes in, and how much of what.
            settings: times and bounds.
            metrics: count calls.
            turns: of messages that are there, and of those of many values.
            tracing: None: no spans.
            waiting: bytes of messages that were read and have no room yet.
        """
        self.calls = Calls()
        self.said = Said(settings.limits.max_grpc_bytes)
        self._arriving = Arriving(
            settings.max_bytes_in_flight // 4,
            settings.limits.max_grpc_bytes,
            waiting,
            metrics.ended.labels("flood").inc,
        )
        self._door = door
        self._turns = turns
        self._open = OpenCalls(settings, turns.messages)
        self._metrics = metrics
        self._patience = settings.stream_idle_seconds  # with a client that takes no answers
        self._to_wait = settings.deadline_seconds  # for room
        self._to_send = settings.body_seconds  # a message, or to take one
        self._limits = settings.limits
        self._largest = settings.limits.max_grpc_bytes
        self._tracing = tracing

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, framed."""
        handler = await continuation(details)
        if handler is None:
            return None
        if details.method.startswith(OPEN):
            return self._open.framed(handler)
        read = handler.request_deserializer

        if handler.unary_unary is not None:
            answer_one = cast("Callable[..., Awaitable[Any]]", handler.unary_unary)

            # Writes, and does not return: what grpc sends by itself, nobody knows whether it was taken.
            async def unary(_: AsyncIterator[bytes], context: Context) -> None:
                # How long it is, gRPC tells of no message that it has not read.
                with accounted(context, self.said, self._arriving) as messages:
                    async with self._framed(details, context) as call, self._room(call.caller, self._largest) as room:
                        messages.turn = partial(self._turns.messages.of, call.caller.client)
                        answer = await answer_one(await self._only(read, messages, room, call.caller.client), context)
                        call.answered = time.monotonic()  # how slowly it is taken is no time of ours
                        await self._hand_over_one(answer, context, call.caller)

            return grpc.stream_stream_rpc_method_handler(unary, None, handler.response_serializer)

        # grpcio types its handlers for threads alone.
        answer_all = cast("Callable[..., AsyncGenerator[Any, None]]", handler.stream_stream)

        # Writes, and does not yield: a client that leaves would let a suspended generator lie until somebody finds it.
        async def stream(_: AsyncIterator[bytes], context: Context) -> None:
            with accounted(context, self.said, self._arriving) as messages:
                async with (
                    self._framed(details, context) as call,
                    self._room(call.caller, self._largest) as room,
                    self._arriving.stream(context.peer()) as patience,
                    aclosing(self._all(read, messages, room, patience, call.caller, _key_in(details))) as questions,
                    aclosing(answer_all(questions, context)) as answers,
                ):
                    messages.turn = partial(self._turns.messages.of, call.caller.client)
                    async for answer in answers:
                        await self._hand_over(answer, context, answers)

        return grpc.stream_stream_rpc_method_handler(stream, None, handler.response_serializer)

    @asynccontextmanager
    async def _room(self, caller: Caller, n_bytes: int) -> AsyncIterator[Hold]:
        """Room for a message until its call is over.

        Raises:
            QueueFull: others held it for too long.
            RateLimited: the client itself did.
        """
        with await self._door.bytes.wait(caller.client, n_bytes, min(self._to_wait, caller.seconds)) as hold:
            yield hold

    async def _only(self, read: Callable[[bytes], M] | None, messages: Messages, room: Hold, client: str) -> M:
        """The one message of a call; its bytes are nobody's any more when it is there.

        Raises:
            MalformedRequest: there is none, or these bytes are none.
            DeadlineExceeded: it did not come in time.
        """
        try:
            async with asyncio.timeout(self._to_send):
                content = await messages.read()
        except TimeoutError:
            raise DeadlineExceeded(f"the message did not come within {self._to_send:g} seconds") from None
        if content is grpc.aio.EOF:
            raise MalformedRequest("a call without a message")
        room.keep(len(content))
        return await self._read(read, content, client)

    async def _all(
        self,
        read: Callable[[bytes], M] | None,
        messages: Messages,
        room: Hold,
        patience: asyncio.Timeout,
        caller: Caller,
        key: str | None,
    ) -> AsyncGenerator[M, None]:
        """The messages of a stream, none of which is kept here once it is handed on.

        The first takes `room`, as the one of a call does: nobody knows how long it is, nor whether there will be a
        place for the stream. The others take none before they are there: `patience` with the stream is over when too
        much comes.

        Raises:
            Unauthorized: the key of the stream is known no more.
            NotAllowed: it may no longer ask.
            MalformedRequest: these bytes are no message.
            TooLarge: it holds more values than a request can need.
        """
        async with aclosing(received(messages.read)) as contents:
            async for content in contents:
                room.keep(len(content))
                self._door.keys.identify(key)
                handed_on = [await self._read(read, content, caller.client)]
                del content
                yield handed_on.pop()
                room.release()
                messages.without_room = patience

    async def _read(self, read: Callable[[bytes], M] | None, content: bytes, client: str) -> M:
        """A message; one of many values in its turn, for to count them holds Python's lock.

        Raises:
            MalformedRequest: these bytes are none.
            TooLarge: it holds more values than a request can need.
        """
        assert read is not None
        most = most_values(self._limits)

        def parsed() -> M:
            if has_more_values(content, kind, most):
                raise TooLarge(f"the message holds more than {most:,} values")
            return _parsed(read, content)

        kind = read.__self__.DESCRIPTOR  # type: ignore[attr-defined]  # a message's own `FromString`
        if has_more_values(content, kind, min(VALUES_HERE, most)):
            lane = self._turns.large if len(content) > LARGE else self._turns.long
            return await lane.done(client, parsed)
        return _parsed(read, content)

    async def _hand_over_one(self, answer: Any, context: Context, caller: Caller) -> None:
        """Writes the answer of a call; a client that does not take it in time loses its connection.

        Raises:
            RateLimited: the client has let too many lie.
            QueueFull: all clients together have.
        """
        n_bytes = answer.ByteSize()
        with self._door.answers.take(caller.client, n_bytes) if n_bytes > PIECE else nullcontext():
            await self._taken(asyncio.ensure_future(context.write(answer)), context)

    async def _taken(self, writing: asyncio.Future[None], context: Context) -> None:
        """Waits until an answer is taken, which nothing but the end of its connection could take back."""
        try:
            await asyncio.wait({writing}, timeout=self._to_send)
            if not writing.done():
                self._metrics.ended.labels("answer").inc()
                hang_up(context.peer())
            await writing
        finally:
            writing.cancel()  # when the client goes in the middle

    async def _hand_over(self, answer: Any, context: Context, answers: AsyncGenerator[Any, None]) -> None:
        """Writes an answer; a client that does not take it in time loses what its stream holds.

        The call itself ends when the client reads on, or goes, or loses its connection some time later.

        Raises:
            DeadlineExceeded: the answer was not taken in time.
        """
        writing = asyncio.ensure_future(context.write(answer))
        try:
            await asyncio.wait({writing}, timeout=self._patience)
            if writing.done():
                return await writing
            await answers.aclose()
            await self._taken(writing, context)
        finally:
            writing.cancel()  # when the client goes in the middle
        raise DeadlineExceeded(f"no answer was taken for {self._patience:g} seconds; the stream is ended")

    @asynccontextmanager
    async def _framed(self, details: grpc.HandlerCallDetails, context: Context) -> AsyncIterator[_Framed]:
        began, framed = time.monotonic(), _Framed()
        metadata = {name: value for name, value in details.invocation_metadata or () if isinstance(value, str)}
        wished = metadata.get("x-request-id", "")
        identity = wished if ACCEPTABLE_ID.fullmatch(wished) else uuid.uuid4().hex
        context.set_trailing_metadata((("x-request-id", identity),))
        span = None if self._tracing is None else self._tracing.begin_call(details.method, metadata)
        on_each_line = {"request_id": identity, **({} if span is None else {"trace_id": span.trace_id})}
        key_id: str | None = None
        code = grpc.StatusCode.OK
        self._metrics.active_calls.inc()
        try:
            with bound_contextvars(**on_each_line), self.calls.taken(context):
                _refuse_doubt(details)
                key_id = self._door.keys.identify(_key_in(details))
                client = client_of(key_id, address_of(context.peer()))
                async with AsyncExitStack() as stack:
                    stack.enter_context(bound_contextvars(key_id=key_id))
                    stack.enter_context(self._door.calls.take(client))
                    if self._door.gate is not None:
                        await stack.enter_async_context(admitted(self._door.gate, client))
                    left = context.time_remaining()
                    traceparent = None if span is None else span.traceparent
                    seconds = float("inf") if left is None else left
                    framed.caller = Caller(key_id or "", client, identity, traceparent, seconds)
                    CALLER.set(framed.caller)
                    yield framed
        # The client went, or its deadline passed; the latter is what gRPC raises who writes to one that has gone.
        except (asyncio.CancelledError, grpc.aio.InternalError):
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
            self._metrics.active_calls.dec()
            seconds = (framed.answered or time.monotonic()) - began
            self._metrics.call(details.method, code.name, seconds, None if span is None else span.kept_id)
            logger.info(
                "call",
                key_id=key_id,
                method=details.method,
                code=code.name,
                milliseconds=round(1e3 * seconds, 1),
                **on_each_line,
            )
            if span is not None:
                span.end_call(code.name, identity, key_id)


def _key_in(details: grpc.HandlerCallDetails) -> str | None:
    metadata = {name: value for name, value in details.invocation_metadata or () if isinstance(value, str)}
    return key_of(metadata.get("authorization"), metadata.get("x-api-key"))


def _refuse_doubt(details: grpc.HandlerCallDetails) -> None:
    """As REST does: where two servers in a row might take another key each.

    Raises:
        MalformedRequest: there are several.
    """
    names = Counter(name for name, _ in details.invocation_metadata or ())
    for name in ("authorization", "x-api-key"):
        if names[name] > 1:
            raise MalformedRequest(f"{names[name]} entries `{name}` in the metadata; expected one at most")


def _parsed(read: Callable[[bytes], M], content: bytes) -> M:
    try:
        return read(content)
    except DecodeError:
        raise MalformedRequest(f"{len(content):,} bytes that are no message of this method") from None
