"""Middleware around every HTTP request, outermost first; plain ASGI, without copies of bodies.

UnreadBodies: the rest of a refused body -> RequestFrame: id, log line, metrics, span -> WebPages: Host, Origin
    -> Guard: API key, place, client limits, bounds of the body -> Compression

gRPC needs no check of Host and Origin: no browser speaks it. Programs that are no browser send neither a foreign Host
nor an Origin.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from lexiseg_service.errors import CrossSite, MalformedRequest, ServiceError, TooLarge, TooSlow, UnknownHost
from lexiseg_service.gateway.admission.access import HEADERS, AccessControl, Caller, key_of, refuse_repeated, scope_of
from lexiseg_service.gateway.rest import pages, problem
from lexiseg_service.gateway.rest.paths import ADAPTERS, STABLE
from lexiseg_service.gateway.waits import GOING_DOWN, Shutdown
from lexiseg_service.settings import BODY_SECONDS, EVERY, Settings
from lexiseg_service.shares import CLIENT_SHARE, Hold, Shares
from lexiseg_service.watch.logs import ACCEPTABLE_REQUEST_ID
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import NO_SPAN, UNTRACED, Tracing

logger = structlog.get_logger("lexiseg.access")
NO_ANSWER = 499  # the client left before an answer began
OPEN_PATHS = pages.PATHS | {ADAPTERS, "/livez", "/readyz"}  # need no API key
METRICS = "/metrics"
LEAVE_SECONDS = 2.0  # for bodies that are still arriving when the process shuts down
FIRST_BYTES = 64 * 2**10  # of a body, for which it has room before it is read
PIECE_BYTES = 64 * 2**10  # of an answer: the server takes the next one when its client has read the last but one
MAX_UNREAD, MAX_UNREAD_BYTES, UNREAD_SECONDS = 200, 32 << 20, 5.0  # bodies of answered requests, and each of them
# Headers that must not be repeated: servers differ in which one they use.
SINGLE_HEADERS = (*HEADERS, "content-type", "content-encoding")
FILES = ("multipart/form-data", "application/octet-stream")  # content types of uploads
LOCALHOST = "localhost"
READING = frozenset({"GET", "HEAD", "OPTIONS"})  # change nothing, and CORS decides who may read the answers
MAX_SHOWN_NAME = 80


class ForPaths:
    """Applies a middleware to the paths with one of some prefixes; other requests pass without it."""

    def __init__(self, app: ASGIApp, middleware: Callable[[ASGIApp], ASGIApp], prefixes: tuple[str, ...]) -> None:
        self._app, self._with_middleware, self._prefixes = app, middleware(app), prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_theirs = scope["type"] == "http" and scope["path"].startswith(self._prefixes)
        await (self._with_middleware if is_theirs else self._app)(scope, receive, send)


class UnreadBodies:
    """Ends the connection after an answer to a body that was not read, and reads the rest of it before.

    A proxy would keep a place for the rest. Closing with bytes unread resets the connection, and HAProxy 2.6 then loses
    the answer. The rest is dropped; of a bounded number of requests, bytes and seconds.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._places = Shares("bodies of refused requests", MAX_UNREAD, CLIENT_SHARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        if "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
            await self._app(scope, receive, send)
            return
        is_unread, is_open = True, False

        async def receive_counted() -> Message:
            nonlocal is_unread
            message = await receive()
            is_unread = is_unread and message.get("more_body", False)
            return message

        async def send_open(message: Message) -> None:
            nonlocal is_open
            if is_unread and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif is_unread and not message.get("more_body", False):
                message, is_open = {**message, "more_body": True}, True
            await send(message)

        await self._app(scope, receive_counted, send_open)
        if is_open:
            await self._drop_rest(scope, receive)
            await send({"type": "http.response.body"})

    async def _drop_rest(self, scope: Scope, receive: Receive) -> None:
        left = MAX_UNREAD_BYTES
        address = scope["client"][0] if scope.get("client") else ""
        with suppress(ServiceError, TimeoutError), self._places.take(address):
            async with asyncio.timeout(UNREAD_SECONDS):
                while left > 0 and (message := await receive()).get("more_body", False):
                    left -= len(message["body"])


class RequestFrame:
    """Gives each request an id (the client's own `X-Request-Id` if acceptable); logs, counts and traces it."""

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
        method, span = scope["method"], NO_SPAN
        if self._tracing is not None and scope["path"] not in UNTRACED:
            span = self._tracing.begin(method, Headers(scope=scope), {"http.request.method": method})
        state = scope.setdefault("state", {})
        state["request_id"] = identity
        state["caller"] = Caller(request_id=identity, traceparent=span.traceparent)
        log_fields = {"request_id": identity, **span.log_fields}
        status, answer_time = NO_ANSWER, 0.0

        async def send_with_id(message: Message) -> None:
            nonlocal status, answer_time
            if message["type"] == "http.response.start":
                answer_time = time.monotonic()  # the time that the client takes to read is not counted
                status = message["status"]
                added = [(b"x-request-id", identity.encode()), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            with bound_contextvars(**log_fields):
                await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass
        except Exception as error:
            if status != NO_ANSWER:  # half an answer is sent: only closing the connection can tell the client
                raise
            await problem.unexpected_response(error, identity, state["caller"].key_id)(scope, receive, send_with_id)
        finally:
            route, key_id = route_of(scope), state["caller"].key_id
            seconds = (answer_time or time.monotonic()) - began
            self._metrics.request(route, method, status, seconds, span.kept_id)
            logger.info(
                "request",
                key_id=key_id,
                route=route,
                method=method,
                status=status,
                milliseconds=round(1e3 * seconds, 1),
                **log_fields,
            )
            if span is not NO_SPAN:
                attributes: dict[str, str | int] = {"http.route": route, "http.response.status_code": status}
                fault = str(status) if status >= 500 else None
                span.end(f"{method} {route}", attributes, fault, identity, key_id)


def route_of(scope: Scope) -> str:
    """The route that answered, for metrics and logs: `/v1/models/{name}`, without the requested name."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    # Some releases of FastAPI name the route of an included router without the prefix, some with it.
    stable = scope["path"].startswith(f"{STABLE}/") and not path.startswith(f"{STABLE}/")
    return f"{STABLE}{path}" if stable else path


class Compression(GZipMiddleware):
    """Gzip of pages and lists; other answers are compressed by the edge."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = super().__call__ if scope.get("method") == "GET" else self.app
        await answer(scope, receive, send)


class WebPages:
    """Refuses names that are not this service's, as of DNS rebinding, and writes that the pages of other sites send.

    Names are localhost's, a name that the service listens on, and `allowed_hosts`. On other addresses than
    loopback every IP address passes, too: probes send it, and no page can rebind one. Pages of
    `cors_origins` may write.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._on_loopback = is_loopback(settings.host)
        self._names = frozenset(name.lower().rstrip(".") for name in (settings.host, *settings.allowed_hosts))
        self._origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._check_names(headers.getlist("host"))
                if scope["method"] not in READING:
                    self._check_origin(headers)
            except ServiceError as error:
                await problem.refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check_names(self, hosts: list[str]) -> None:
        for host in hosts:  # none in HTTP/1.0, which no browser speaks
            name = name_in(host)
            is_listed = EVERY in self._names or name in self._names or is_loopback(name)
            if not is_listed and (self._on_loopback or address_of(name) is None):
                expected = "localhost" if self._on_loopback else "localhost or an IP address"
                raise UnknownHost(
                    f"Host: expected {expected}, got {host[:MAX_SHOWN_NAME]!r}; LEXISEG_ALLOWED_HOSTS names others"
                )

    def _check_origin(self, headers: Headers) -> None:
        """Refuse a write of another site; browsers send Sec-Fetch-Site over TLS and to localhost, else only Origin."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if EVERY in self._origins or origin in self._origins:
            return
        if site is None:
            own = origin is None or authority_in(origin) == headers.get("host", "").lower()
        else:
            own = site in ("same-origin", "none")
        if not own:
            came = (origin or site or "")[:MAX_SHOWN_NAME]
            raise CrossSite(f"Origin: expected a page of ours, got {came!r}; LEXISEG_CORS_ORIGINS names others")


class Guard:
    """Admits a request: API key, a place and client limits before its body is read, then bounds of the body.

    Completes the caller in the scope's state. A body that is too large is refused by its Content-Length, else as soon
    as it exceeds the limit; likewise one that is late, or has no room until the deadline.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        access: AccessControl,
        open_paths: frozenset[str],
        shutdown: Shutdown,
        uploads: Mapping[str, int],  # bytes of a file that a POST to a path, or a PUT below it, brings onto a disk
    ) -> None:
        limits = settings.limits
        self._app = app
        self._access = access
        self._open = open_paths
        self._shutdown = shutdown
        # Base64 takes four bytes for three; with the image there are texts and prompts.
        self._max_bytes = limits.max_image_bytes * 4 // 3 + limits.max_question_bytes
        self._uploads = {path: nbytes + limits.max_question_bytes for path, nbytes in uploads.items()}
        self._room_seconds = settings.deadline_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        try:
            refuse_repeated((name.decode("latin-1") for name, _ in scope["headers"]), SINGLE_HEADERS)
            if "\n" in scope["path"]:  # which routes let pass at the end, rules that name a path do not
                raise MalformedRequest(f"a line break in the path {scope['path'][:MAX_SHOWN_NAME]!r}")
            if scope["path"] in self._open:  # exact paths, no prefixes; none of them reads a body
                await self._app(scope, receive, send)
                return
            headers = Headers(scope=scope)
            address = scope["client"][0] if scope.get("client") else None
            scope_needed = scope_of(scope["method"], scope["path"])
            caller = self._access.identified(state["caller"], key_of(*map(headers.get, HEADERS)), address, scope_needed)
            state["caller"] = caller
            with bound_contextvars(key_id=caller.key_id), self._access.calls.take(caller.client):
                async with self._access.limits.admit(caller.client):
                    max_bytes = self._max_body_bytes(scope, headers)
                    expected = min(self._expected(headers, max_bytes), self._max_bytes)
                    first = min(expected, FIRST_BYTES)
                    with await self._access.bytes.wait(caller.client, first, self._room_seconds) as hold:
                        content = self._limited(receive, hold, expected, max_bytes)
                        await self._app(scope, content, self._counted(send, caller.client))
        except ServiceError as error:  # errors of routes are handled inside
            await problem.refuse(error, scope, receive, send)

    def _max_body_bytes(self, scope: Scope, headers: Headers) -> int:
        if not headers.get("content-type", "").startswith(FILES):
            return self._max_bytes
        path = scope["path"].removeprefix(STABLE)
        path = {"POST": path, "PUT": path.rpartition("/")[0]}.get(scope["method"], "")
        return self._uploads.get(path, self._max_bytes)

    def _expected(self, headers: Headers, max_bytes: int) -> int:
        if "transfer-encoding" in headers:
            return max_bytes
        announced = headers.get("content-length", "0")
        length = int(announced) if announced.isdecimal() else 0
        if length > max_bytes:
            raise _too_large(length, max_bytes)
        return length

    def _limited(self, receive: Receive, hold: Hold, expected: int, max_bytes: int) -> Receive:
        """The body, which takes its room as it comes: one that is only announced leaves it to others."""
        received = 0
        is_complete = False
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def limited() -> Message:
            nonlocal received, is_complete, began
            if is_complete:  # only a disconnect is left to read
                return await receive()
            # An upload gets the time again for as many bytes as any other body may have.
            deadline = began + BODY_SECONDS * (1 + received // self._max_bytes)
            try:
                async with self._shutdown.timeout_at(deadline, LEAVE_SECONDS, GOING_DOWN):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(f"the body did not come within {BODY_SECONDS:g} seconds") from None
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > max_bytes:
                raise _too_large(received, max_bytes)
            if (room := min(received if is_complete else 2 * received, expected)) > hold.amount < received:
                waits = loop.time()
                await hold.grow_to(room, self._room_seconds)
                began += loop.time() - waits
            if is_complete:
                hold.reduce_to(received)
            return message

        return limited

    def _counted(self, send: Send, client: str) -> Send:
        """Count a large body in the bytes in flight until its client has read all but the last pieces."""

        async def counted(message: Message) -> None:
            content = message.get("body", b"")
            if len(content) <= PIECE_BYTES:
                await send(message)
                return
            with self._access.bytes.grant(client, len(content)):
                for start in range(0, len(content), PIECE_BYTES):
                    goes_on = message.get("more_body", False) or start + PIECE_BYTES < len(content)
                    piece = content[start : start + PIECE_BYTES]
                    await send({**message, "body": piece, "more_body": goes_on})

        return counted


def _too_large(length: int, max_bytes: int) -> ServiceError:
    return TooLarge(f"the body has {length:,} bytes or more, at most {max_bytes:,} are taken")


def name_in(host: str) -> str:
    """The name or address in a Host header, in lower case; "" if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def authority_in(origin: str) -> str | None:
    """The host and port of an Origin header, in lower case; None if it is malformed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def address_of(name: str) -> IPv4Address | IPv6Address | None:
    """The address that it is; None for a name."""
    try:
        return ip_address(name)
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether it is `localhost`, a name under it (RFC 6761), or a loopback address."""
    address = address_of(name)
    return name == LOCALHOST or name.endswith(f".{LOCALHOST}") or (address is not None and address.is_loopback)
