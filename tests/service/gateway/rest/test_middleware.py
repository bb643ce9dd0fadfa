import asyncio
import json
import random
import socket
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.rest import middleware
from lexiseg_service.gateway.waits import Shutdown
from lexiseg_service.settings import Limits
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.raw import HALF, HEAD, WHOLE, listening
from tests.service.gateway.serving import on_ports, serving
from tests.waiting import SOON, soon

SMALL = Limits(max_image_bytes=300, max_text_bytes=100, max_prompts=1)
LIMIT = 400 + SMALL.max_question_bytes  # of a body


@pytest.mark.parametrize(
    ("sizes", "status", "n_taken"),
    [
        ((LIMIT + 1,), 413, 1), ((LIMIT, 1), 413, 2), ((LIMIT - 40, 41, 60, 60), 413, 2),
        ((LIMIT - 40, 40), 400, 2),  # the body is taken, and is no JSON
    ],
)  # fmt: skip
async def test_a_body_is_refused_as_soon_as_it_is_over_the_limit(
    sizes: tuple[int, ...], status: int, n_taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "MAX_UNREAD", 0)
    taken = []

    async def parts() -> AsyncIterator[bytes]:
        for size in sizes:
            taken.append(size)
            yield bytes(size)

    async with serving(limits=SMALL) as client:
        answer = await client.post("/segment", content=parts(), headers={"content-type": "application/json"})

    assert (answer.status_code, len(taken)) == (status, n_taken)


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


async def test_bodies_that_are_announced_and_do_not_come_leave_their_room_to_others() -> None:
    async with listening(max_bytes_in_flight=2**22, deadline_seconds=2 * SOON) as server:
        for _ in range(8):
            await (await server.open()).send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        await soon(lambda: server.metrics.registry.get_sample_value("lexiseg_cache_bytes", {"cache": "requests"}))
        other = await server.open()
        await other.send(WHOLE)

        assert (await other.answer())[0] == 200


async def test_an_answer_is_in_the_bytes_in_flight_until_its_client_has_read_it() -> None:
    overlay = random.Random(0).randbytes(3 * 2**23)  # more than the kernel's buffers of a connection
    async with listening(KnownBackend(changes={"overlay": overlay})) as server:
        raw = await server.open()
        await raw.send(WHOLE)
        head = await raw.head()

        def held() -> float:
            return server.metrics.registry.get_sample_value("lexiseg_cache_bytes", {"cache": "requests"}) or 0.0

        await soon(lambda: held() > len(overlay))
        status, answer = int(head.split()[1]), json.loads(await raw.body(head))
        await soon(lambda: not held())

    assert (status, b64decode(answer["overlay"])) == (200, overlay)


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
