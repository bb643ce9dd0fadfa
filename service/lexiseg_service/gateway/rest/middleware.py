"""What surrounds every request: an id, the body limit, one log line, one count. Plain ASGI, no copies of bodies."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from lexiseg_service.errors import QueueFull, RateLimited, ServiceError, TooLarge, TooSlow
from lexiseg_service.gateway.rest import problem
from lexiseg_service.gateway.rest.paths import path_alone, route_of
from lexiseg_service.shares import Hold, Shares
from lexiseg_service.watch.logs import ACCEPTABLE_REQUEST_ID
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import UNTRACED, Tracing

logger = structlog.get_logger("lexiseg.access")
NO_ANSWER = 499  # the client went before an answer began
TO_COME_AGAIN = frozenset({429, 503})  # answers that say when
SLASH_LESS = 307  # how the router leads from a path with a slash at its end to the one without, or the other way
DRAIN_FACTOR = 4  # a body this many times over the limit is read to its end, so that its sender sees the answer


class RequestFrame:
    """Gives each request an id (the client's own `X-Request-Id` if it is harmless), logs, counts and traces it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        sent_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        identity = sent_id if ACCEPTABLE_REQUEST_ID.fullmatch(sent_id) else os.urandom(16).hex()
        span = None
        if self._tracing is not None and scope["path"] not in UNTRACED:
            span = self._tracing.begin(scope["method"], Headers(scope=scope))
        state = scope.setdefault("state", {})
        state["request_id"], state["traceparent"] = identity, span and span.traceparent
        carried = {"request_id": identity, **({} if span is None else {"trace_id": span.trace_id})}
        status, answered = NO_ANSWER, 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                answered = time.monotonic()  # how slowly it is taken is no time of ours
                status = message["status"]
                if status in TO_COME_AGAIN:
                    state["retry_after"] = dict(message["headers"]).get(b"retry-after", b"")
                elif status == SLASH_LESS:
                    message["headers"] = [(n, path_alone(v) if n == b"location" else v) for n, v in message["headers"]]
                ours = ((b"x-request-id", identity.encode()), (b"x-content-type-options", b"nosniff"))
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        try:
            with bound_contextvars(**carried):
                await self._app(scope, receive, send_with_id)
        except ClientDisconnect:  # in the middle of its request: nobody is left to answer
            pass
        except Exception as error:
            if status != NO_ANSWER:  # half an answer is out: only closing the connection can tell the client
                raise
            await problem.surprise(error, identity, state.get("key_id"))(scope, receive, send_with_id)
        finally:
            route = route_of(scope)
            seconds = (answered or time.monotonic()) - began
            self._metrics.request(route, scope["method"], status, seconds, None if span is None else span.kept_id)
            logger.info(
                "request",
                key_id=state.get("key_id"),
                route=route,
                method=scope["method"],
                status=status,
                milliseconds=round(1e3 * seconds, 1),
                **carried,
            )
            if span is not None:
                span.end(route, scope["method"], status, identity, state.get("key_id"))


class BodyLimit:
    """Bounds of a request's body: its size, the time it takes to come, and the bytes of all requests in flight.

    413 by the Content-Length before reading, else as soon as the body grows over the limit; 408 when it does not come
    in time; 429 when other requests hold the room for bytes in flight until the deadline.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, room: Shares, to_wait: float, to_come: float) -> None:
        """`to_wait`: seconds for room; `to_come`: seconds for the whole body."""
        self._app = app
        self._max_bytes = max_bytes
        self._room = room
        self._to_wait = to_wait
        self._to_come = to_come

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        length = int(announced) if announced.isdigit() else 0
        if length > self._max_bytes:
            if headers.get(b"expect", b"").lower() != b"100-continue":
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._to_come):
                        await self._drain(receive)
            await self._refuse(scope, receive, send, self._error(length))
            return
        # Without its length, a body may be as long as any.
        expected = self._max_bytes if b"transfer-encoding" in headers else length
        client = scope.get("state", {}).get("client", "")
        try:
            room = await self._room.wait(client, expected, self._to_wait)
        except (QueueFull, RateLimited) as error:
            await self._refuse(scope, receive, send, error)
            return
        with room:
            await self._app(scope, self._limited(receive, room), send)

    def _limited(self, receive: Receive, room: Hold) -> Receive:
        received = 0
        is_whole = False
        until = asyncio.get_running_loop().time() + self._to_come

        async def limited() -> Message:
            nonlocal received, is_whole
            if is_whole:  # nothing is left to read but the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(f"the body did not come within {self._to_come:g} seconds") from None
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if received > self._max_bytes:
                if not is_whole:
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(until):
                            await self._drain(receive, received)
                raise self._error(received)
            if is_whole:
                room.keep(received)
            return message

        return limited

    async def _drain(self, receive: Receive, received: int = 0) -> None:
        while received <= DRAIN_FACTOR * self._max_bytes:
            message = await receive()
            received += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: ServiceError) -> None:
        answer = problem.response(error, scope.get("state", {}).get("request_id"))
        await answer(scope, receive, send)

    def _error(self, length: int) -> ServiceError:
        return TooLarge(f"the body has {length:,} bytes or more, at most {self._max_bytes:,} are taken")
