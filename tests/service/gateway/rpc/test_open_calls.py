"""What those may hold who need no key, and that they keep nobody else waiting."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import SecretStr

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.rpc import open_calls
from lexiseg_service.question.backend import Health
from tests.service.gateway.known_backend import WARM, KnownBackend
from tests.service.gateway.rpc.calling import Gateway, calling
from tests.service.gateway.rpc.narrow import narrow
from tests.service.gateway.rpc.test_frame import failure, kind

SOON = 20.0
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
KEYS = SecretStr(line_of("camera", "right"))
LONG = health_pb2.HealthCheckRequest(service="x" * open_calls.MOST_BYTES)


def health(gateway: Gateway) -> Any:
    return health_pb2_grpc.HealthStub(gateway.channel)


async def test_a_long_message_is_refused() -> None:
    async with asyncio.timeout(SOON), calling(api_keys=KEYS) as gateway:
        error = await failure(health(gateway).Check(LONG))
        with pytest.raises(grpc.aio.AioRpcError) as watching:
            await health(gateway).Watch(LONG).read()

    assert [kind(error), kind(watching.value)] == ["too-large", "too-large"]


async def test_who_says_nothing_is_ended() -> None:
    async with asyncio.timeout(SOON), calling(api_keys=KEYS, head_seconds=0.1) as gateway:
        error = await failure(gateway.channel.stream_unary(CHECK)())

    assert (error.code(), kind(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline-exceeded")


async def test_so_many_messages_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are with their senders: each may be as long as any."""
    monkeypatch.setattr(open_calls, "MOST_READ", 1)
    async with asyncio.timeout(SOON), calling(api_keys=KEYS, head_seconds=SOON) as gateway:
        silent: Any = gateway.channel.stream_unary(CHECK)()
        await silent.wait_for_connection()
        with pytest.raises(grpc.aio.AioRpcError) as waited:
            await health(gateway).Check(health_pb2.HealthCheckRequest(), timeout=0.3)
        silent.cancel()
        answer = await health(gateway).Check(health_pb2.HealthCheckRequest())

    assert waited.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_so_many_calls_at_a_time() -> None:
    async with asyncio.timeout(SOON), calling(api_keys=KEYS, max_calls=2) as gateway:
        watching = health(gateway).Watch(health_pb2.HealthCheckRequest())
        await watching.read()
        error = await failure(health(gateway).Check(health_pb2.HealthCheckRequest()))
        watching.cancel()

    assert (error.code(), kind(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate-limited")


async def test_a_watcher_that_takes_no_answer_keeps_no_other_from_hearing() -> None:
    backend = KnownBackend()
    async with asyncio.timeout(SOON), calling(backend=backend, api_keys=KEYS) as gateway, narrow(gateway, WATCH, b""):
        watching = health(gateway).Watch(health_pb2.HealthCheckRequest())
        heard = [(await watching.read()).status]
        for backend.now in (Health(True, False, "gone"), WARM):
            heard.append((await watching.read()).status)
        watching.cancel()

    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert heard == [serving, not_serving, serving]


async def test_a_stream_of_reflection_that_falls_silent_has_said_all() -> None:
    for seconds in (0.1, 1, 10):  # on a slow machine a message may come too late for the first
        heard = []
        async with asyncio.timeout(3 * SOON), calling(api_keys=KEYS, head_seconds=seconds) as gateway:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", gateway.channel))
            call = stub.ServerReflectionInfo()
            with suppress(asyncio.InvalidStateError):  # the call is over
                for _ in range(2):
                    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
                    if (answer := await call.read()) is grpc.aio.EOF:
                        break
                    heard.append(answer)

            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
        if len(heard) == 2:
            break

    assert [bool(answer.list_services_response.service) for answer in heard] == [True, True]
