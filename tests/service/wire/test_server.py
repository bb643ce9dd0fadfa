"""A gRPC server that drains: accepted calls are answered."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.test_guard import SlowBackend
from tests.service.gateway.rpc.calling import Gateway, calling, request

CALLERS = 24
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own


class Counting(KnownBackend):
    """Takes a moment, and counts what it answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        await asyncio.sleep(0.005)
        answer = await super().segment(request)
        self.answers += 1
        return answer


async def test_callers_without_a_pause_are_answered_or_hear_that_nobody_is_there() -> None:
    backend = Counting()
    question, seen = request("sky"), Counter[grpc.StatusCode]()
    async with calling(backend=backend) as gateway:

        async def ask_on() -> None:
            async with channel_to(gateway) as channel:
                while (code := await code_of_call(channel, question)) is grpc.StatusCode.OK:
                    seen[code] += 1
                seen[code] += 1

        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(ask_on())
            while seen[grpc.StatusCode.OK] < 2 * CALLERS:
                await asyncio.sleep(0)
            await gateway.server.close()

    # gRPC itself cancels a call that arrives between the last look and the end; clients retry both.
    assert seen[grpc.StatusCode.OK] == backend.answers
    assert seen[grpc.StatusCode.UNAVAILABLE] + seen[grpc.StatusCode.CANCELLED] == CALLERS


async def test_a_call_that_takes_longer_than_the_server_has_is_ended() -> None:
    backend = SlowBackend()
    async with calling(backend=backend, drain_seconds=0.1) as gateway:
        answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        await asyncio.wait_for(gateway.server.close(), 5)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await answering

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


def channel_to(gateway: Gateway) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{gateway.server.port}", options=OWN)


async def code_of_call(channel: grpc.aio.Channel, question: pb.SegmentRequest) -> grpc.StatusCode:
    try:
        await SegmentationStub(channel).Segment(question, timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
