"""The interceptor around every call of the public gRPC interface.

    request id, log, metrics, span -> API key -> client limits -> room for the message -> servicer -> answer

Every method is registered as a streaming one, which is the same on the wire: gRPC reads the message of a unary method
before its handler runs, so before a key or a limit could refuse it. An unread message stays with its sender by flow
control. A ServiceError becomes a rich status. Health and reflection need no key.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, cast
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError
from structlog.contextvars import bound_contextvars
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lexiseg_service.errors import DeadlineExceeded, MalformedRequest, QueueFull, RateLimited, ServiceError, unexpected
from lexiseg_service.gateway.admission.access import HEADERS, AccessControl, Caller, key_of, refuse_repeated
from lexiseg_service.gateway.waits import end_by
from lexiseg_service.settings import BODY_SECONDS, FIRST_MESSAGE_SECONDS, STREAM_IDLE_SECONDS, Settings
from lexiseg_service.shares import Hold
from lexiseg_service.watch.logs import ACCEPTABLE_REQUEST_ID
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import NO_SPAN, Tracing
from lexiseg_service.wire.errors import code_of, end_with
from lexiseg_service.wire.server import Context, Handler

logger = structlog.get_logger("lexiseg.access")
OPEN = ("/grpc.health.", "/grpc.reflection.")  # answered without a key
CALLER: ContextVar[Caller] = ContextVar("caller")  # of the running call
PATIENCE_SECONDS = 1.0  # that a call waits for room before one without a message gives up its own
SERVERS_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
PEER = re.compile(r"ipv[46]:(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):\d+")
FORWARDED_FOR = "x-forwarded-for"
MESSAGE_PREFIX = "x-message-prefix"  # the first bytes of the first message, in hexadecimal digits
# Not compressed, and its length (gRPC over HTTP/2, Length-Prefixed-Message).
PLAIN_MESSAGE = re.compile("00([0-9A-Fa-f]{8})")


class TrustedProxies:
    """Reads what a trusted proxy says about a call, by uvicorn's own rules: one that `FORWARDED_ALLOW_IPS` names."""

    def __init__(self) -> None:
        async def nothing(*_: object) -> None:
            """The application behind the middleware: only what becomes of the scope counts."""

        trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
        self._middleware = ProxyHeadersMiddleware(cast("Any", nothing), trusted)

    async def address(self, peer: str | None, metadata: Mapping[str, str]) -> str | None:
        """The address of the client: the peer's, or that which the peer names if it is a trusted proxy."""
        headers = [(name.encode(), value.encode()) for name, value in metadata.items() if name == FORWARDED_FOR]
        scope: Any = {"type": "http", "scheme": "http", "client": (peer, 0), "headers": headers}
        await self._middleware(scope, cast("Any", None), cast("Any", None))
        address: str | None = scope["client"][0]
        return address

    def announced_bytes(self, peer: str | None, metadata: Mapping[str, str]) -> int | None:
        """The length of the first message, if a trusted proxy has seen its beginning."""
        if peer not in self._middleware.trusted_hosts:
            return None
        if (plain := PLAIN_MESSAGE.fullmatch(metadata.get(MESSAGE_PREFIX, ""))) is None:
            return None
        return int(plain[1], 16)


class _Ended(Exception):
    """The call has the status of its error, the cause, without a traceback: its frames would keep the message."""


class _Call:
    """A call in progress; `caller` is set once its key is checked."""

    caller: Caller
    answer_time = 0.0  # time.monotonic() when the answer of a unary call was ready; 0: not yet


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Checks keys and limits, reports errors as statuses; logs, counts and traces every call."""

    def __init__(
        self, access: AccessControl, settings: Settings, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self._access = access
        self._proxies = TrustedProxies()
        self._metrics = metrics
        self._max_bytes = settings.limits.grpc_bytes
        self._room_seconds = settings.deadline_seconds
        self._tracing = tracing
        # Calls that hold room while nobody knows how much of their message has come, and since when.
        self._silent: dict[asyncio.Timeout, tuple[str, float]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(details)
        if handler is None:
            return None
        own = cast("Any", handler)  # grpcio types its handlers only for threads
        if details.method.startswith(OPEN):
            answer: Callable[[Context], Awaitable[None]] = partial(_answer_openly, own)
        else:
            answer = (
                self._unary(own.unary_unary, details) if own.unary_unary else self._stream(own.stream_stream, details)
            )

        # Messages are read from the context: gRPC's iterator keeps its last one, of many megabytes, until a collection.
        async def until_end(_: AsyncIterator[Any], context: Context) -> None:
            with suppress(_Ended):
                await answer(context)

        return grpc.stream_stream_rpc_method_handler(until_end, own.request_deserializer, own.response_serializer)

    def _unary(self, method: Callable[..., Awaitable[Any]], details: grpc.HandlerCallDetails) -> Callable[..., Any]:
        async def answer(context: Context) -> None:
            async with self._call(details, context) as call:
                client, seconds = call.caller.client, min(self._room_seconds, call.caller.seconds)
                announced = self._proxies.announced_bytes(address_of(context.peer()), _texts(details))
                expected = self._max_bytes if announced is None else min(announced, self._max_bytes)
                is_proxied = announced is not None
                with await self._room(client, expected, seconds, is_proxied=is_proxied) as room:
                    message = await self._first(context, client, has_length=is_proxied)
                    room.reduce_to(message.ByteSize())
                    response = await method(message, context)
                    call.answer_time = time.monotonic()
                    with self._access.bytes.grant(client, response.ByteSize()):
                        await self._write(response, context, BODY_SECONDS)

        return answer

    def _stream(
        self, method: Callable[..., AsyncGenerator[Any, None]], details: grpc.HandlerCallDetails
    ) -> Callable[..., Any]:
        # Writes instead of yielding: gRPC would leave the generator of a cancelled call suspended.
        async def answer(context: Context) -> None:
            async with (
                self._call(details, context),
                aclosing(self._checked(context, _key_in(details))) as checked,
                aclosing(method(checked, context)) as answers,
            ):
                async for each in answers:
                    await self._write(each, context, STREAM_IDLE_SECONDS)

        return answer

    async def _room(self, client: str, amount: int, seconds: float, *, is_proxied: bool) -> Hold:
        """Room for a message; where it does not come free soon, the oldest silent call in its way ends.

        A proxy stops all uploads of a connection for one that waits, also the ones that hold the room it waits for.
        """
        while True:
            try:
                return await self._access.bytes.wait(client, amount, min(seconds, PATIENCE_SECONDS))
            except (QueueFull, RateLimited) as refusal:
                is_own = isinstance(refusal, RateLimited)
                seconds -= PATIENCE_SECONDS
                if seconds <= 0 or (is_proxied and is_own):
                    raise
            now = asyncio.get_running_loop().time()
            for timeout, (holder, since) in self._silent.items():
                if (holder == client or not is_own) and now - since >= PATIENCE_SECONDS:
                    end_by(timeout, now)
                    del self._silent[timeout]
                    break

    async def _first(self, context: Context, client: str, *, has_length: bool) -> Any:
        """The message of a call; one of unknown length holds room for the largest, so it has less time."""
        seconds = BODY_SECONDS if has_length else FIRST_MESSAGE_SECONDS
        try:
            async with asyncio.timeout(seconds) as timeout:
                # One of known length may still come for as long as another would have been ended.
                since = asyncio.get_running_loop().time() + (FIRST_MESSAGE_SECONDS if has_length else 0)
                self._silent[timeout] = client, since
                try:
                    message = await _next(context)
                finally:
                    self._silent.pop(timeout, None)
        except TimeoutError:
            reason = f"the message did not come within {seconds:g} seconds, or before others needed its room"
            raise DeadlineExceeded(reason) from None
        return _not_end(message)

    async def _checked(self, context: Context, key: str | None) -> AsyncGenerator[Any, None]:
        while (message := await _next(context)) is not grpc.aio.EOF:
            self._access.keys.identify(key)
            yield message

    async def _write(self, answer: Any, context: Context, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await context.write(answer)
        except TimeoutError:
            raise DeadlineExceeded(f"the client read no answer for {seconds:g} seconds; the call is ended") from None

    @asynccontextmanager
    async def _call(self, details: grpc.HandlerCallDetails, context: Context) -> AsyncIterator[_Call]:
        began, call = time.monotonic(), _Call()
        metadata = _texts(details)
        requested = metadata.get("x-request-id", "")
        identity = requested if ACCEPTABLE_REQUEST_ID.fullmatch(requested) else uuid.uuid4().hex
        context.set_trailing_metadata((("x-request-id", identity),))
        name, span = details.method.removeprefix("/"), NO_SPAN
        if self._tracing is not None:
            span = self._tracing.begin(name, metadata, {"rpc.system.name": "grpc", "rpc.method": name})
        log_fields = {"request_id": identity, **span.log_fields}
        left = context.time_remaining()
        seconds = float("inf") if left is None else left
        caller = Caller(request_id=identity, traceparent=span.traceparent, seconds=seconds)
        code = grpc.StatusCode.OK
        self._metrics.active_calls.inc()
        try:
            with bound_contextvars(**log_fields):
                refuse_repeated((name for name, _ in details.invocation_metadata or ()), HEADERS)
                address = await self._proxies.address(address_of(context.peer()), metadata)
                caller = self._access.identified(caller, _key_in(details), address)
                call.caller = caller
                CALLER.set(caller)
                with bound_contextvars(key_id=caller.key_id), self._access.calls.take(caller.client):
                    async with self._access.limits.admit(caller.client):
                        yield call
        # The client hung up, or its deadline passed and gRPC raised InternalError for writing to a closed call.
        except (asyncio.CancelledError, grpc.aio.InternalError):
            code = grpc.StatusCode.CANCELLED
            raise
        except ServiceError as error:
            code = code_of(error)
            end_with(context, error, identity, (("x-request-id", identity),))
            raise _Ended from error.with_traceback(None)
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            kind = type(error).__name__
            logger.error("unexpected error", error=kind, key_id=caller.key_id, exc_info=error, **log_fields)
            end_with(context, unexpected(), identity, (("x-request-id", identity),))
            raise _Ended from error.with_traceback(None)
        finally:
            self._metrics.active_calls.dec()
            seconds = (call.answer_time or time.monotonic()) - began
            self._metrics.call(details.method, code.name, seconds, span.kept_id)
            logger.info(
                "call",
                key_id=caller.key_id,
                method=details.method,
                code=code.name,
                milliseconds=round(1e3 * seconds, 1),
                **log_fields,
            )
            if span is not NO_SPAN:
                fault = code.name if code in SERVERS_FAULT else None
                span.end(name, {"rpc.response.status_code": code.name}, fault, identity, caller.key_id)


async def _answer_openly(method: Any, context: Context) -> None:
    """Answer a call without a key; bytes that are no message end it in plain words."""
    try:
        if method.stream_stream:
            async for answer in method.stream_stream(_messages(context), context):
                await context.write(answer)
        elif method.unary_unary:
            await context.write(await method.unary_unary(_not_end(await _next(context)), context))
        else:
            await method.unary_stream(_not_end(await _next(context)), context)
    except MalformedRequest as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.detail)


async def _messages(context: Context) -> AsyncGenerator[Any, None]:
    while (message := await _next(context)) is not grpc.aio.EOF:
        yield message


async def _next(context: Context) -> Any:
    try:
        return await context.read()
    except DecodeError:
        raise MalformedRequest("bytes that are no message of this method") from None


def _not_end(message: Any) -> Any:
    if message is grpc.aio.EOF:
        raise MalformedRequest("a call without a message")
    return message


def address_of(peer: str) -> str | None:
    """The address in a gRPC peer, `ipv4:127.0.0.1:4711` or `ipv6:%5B::1%5D:4711`; None for a Unix socket."""
    address = PEER.fullmatch(unquote(peer))
    return None if address is None else address["six"] or address["four"]


def _texts(details: grpc.HandlerCallDetails) -> dict[str, str]:
    return {name: value for name, value in details.invocation_metadata or () if isinstance(value, str)}


def _key_in(details: grpc.HandlerCallDetails) -> str | None:
    metadata = _texts(details)
    return key_of(*map(metadata.get, HEADERS))
