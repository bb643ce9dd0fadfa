"""A gRPC server that drains: accepted calls are answered."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.service.gateway.rest.test_guard import SlowBackend
from tests.service.gateway.rpc.calling import calling, request


async def test_a_call_that_takes_longer_than_the_server_has_is_ended() -> None:
    backend = SlowBackend()
    async with calling(backend=backend, drain_seconds=0.1) as gateway:
        answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        await asyncio.wait_for(gateway.server.close(), 60)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await answering

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
