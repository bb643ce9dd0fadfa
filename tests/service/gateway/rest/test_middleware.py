import asyncio
import socket
from contextlib import closing

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from lexiseg_service.errors import TooLarge
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.rest import middleware
from lexiseg_service.gateway.rest.middleware import Guard
from lexiseg_service.gateway.waits import Shutdown
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.raw import HALF, WHOLE, listening
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON

LIMIT = 100  # bytes


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads the whole body."""
    await Request(scope, receive).body()


async def take(*sizes: int) -> int:
    """A body in parts of these sizes, whose client then waits for its answer; how many parts were taken."""
    left = list(sizes)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": bytes(left.pop(0)), "more_body": bool(left)}

    statuses: list[int] = []

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    access = AccessControl.of_settings(Settings(), Metrics())
    guard = Guard(reader, Settings(), access, frozenset(), Shutdown(), {})
    guard._max_bytes = LIMIT
    scope = {"type": "http", "method": "POST", "path": "/segment", "headers": [], "state": {"caller": Caller()}}
    async with asyncio.timeout(SOON):
        await guard(scope, receive, send)
    assert statuses == [TooLarge.status], "the body was taken"
    return len(sizes) - len(left)


@pytest.mark.parametrize(("sizes", "taken"), [((101,), 1), ((60, 41), 2), ((100, 1), 2), ((60, 60, 60, 60), 2)])
async def test_a_body_that_grows_over_the_limit_is_refused_at_once(sizes: tuple[int, ...], taken: int) -> None:
    assert await take(*sizes) == taken


async def test_a_body_of_the_limit_is_taken() -> None:
    with pytest.raises(AssertionError, match="taken"):
        await take(60, 40)


@pytest.mark.parametrize(
    ("request_", "closes"), [(HALF, True), (b"GET /models HTTP/1.1\r\nHost: localhost\r\n\r\n", False)]
)
async def test_a_refusal_before_the_body_is_read_ends_the_connection(request_: bytes, closes: bool) -> None:
    async with listening(api_keys=SecretStr(line_of("camera", "right"))) as here:
        raw = await here.open()
        await raw.send(request_)
        head = await raw.head()

    assert b" 401 " in head
    assert (b"connection: close" in head) is closes


@pytest.mark.parametrize(
    ("bound", "value", "more"),
    [("UNREAD_SECONDS", 0.1, b""), ("MAX_UNREAD_BYTES", 999, bytes(999)), ("MAX_UNREAD", 0, b"")],
)
async def test_the_rest_of_a_refused_body_is_read_within_bounds(
    bound: str, value: float, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in {"UNREAD_SECONDS": SOON, "MAX_UNREAD_BYTES": 10**6, bound: value}.items():
        monkeypatch.setattr(middleware, name, most)
    async with listening(api_keys=SecretStr(line_of("camera", "right"))) as here:
        raw = await here.open()
        await raw.send(HALF)
        refused = await raw.problem()  # at once, though the rest is read on
        await raw.send(more)
        rest = await raw.reader.read()

    assert (refused, rest) == ((401, "unauthorized"), b"")


async def test_a_body_that_does_not_come_in_time_is_refused_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.2)
    async with listening() as server:
        slow, other = await server.open(), await server.open()
        await slow.send(HALF)

        assert await slow.problem() == (408, "too-slow")
        monkeypatch.setattr(middleware, "BODY_SECONDS", SOON)
        await other.send(WHOLE)
        assert (await other.answer())[0] == 200


def test_half_a_body_is_refused_when_the_server_goes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEAVE_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(middleware, name, 0.1)
    head = "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
    with closing(socket.socket()) as client:
        client.settimeout(SOON)
        with on_ports(KnownBackend()) as ports:
            client.connect(("127.0.0.1", int(ports.url.rpartition(":")[2])))
            client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert b"100 Continue" in client.recv(4096)  # the body is awaited
            client.sendall(b'{"classes": ')

        answer = b"".join(iter(lambda: client.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"send the request again" in answer


async def test_a_shutdown_while_a_time_ends_changes_nothing() -> None:
    shutdown, loop, left = Shutdown(), asyncio.get_running_loop(), asyncio.Event()

    def leave() -> None:
        shutdown.begin()
        left.set()

    async def wait() -> None:
        async with shutdown.timeout_at(loop.time(), 0, "going down"):
            loop.call_soon(leave)  # after the timer, before this task ends
            await loop.create_future()

    with pytest.raises(TimeoutError):
        await wait()
    assert left.is_set()
