"""A server that goes loses no call: what it took is answered, what comes later is UNAVAILABLE and never CANCELLED."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import grpc
import pytest

from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.wire import leaving
from lexiseg_service.wire.errors import read_error
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
                while grpc.StatusCode.UNAVAILABLE not in (code := await code_of_call(channel, question)):
                    seen.update(code)
                seen.update(code)

        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(ask_on())
            while seen[grpc.StatusCode.OK] < 2 * CALLERS:
                await asyncio.sleep(0)
            await gateway.server.close()

    assert seen == {grpc.StatusCode.OK: backend.answers, grpc.StatusCode.UNAVAILABLE: CALLERS}


async def test_a_new_call_on_a_connection_that_has_one_is_refused_as_by_rest() -> None:
    backend = SlowBackend()
    async with calling(backend=backend) as gateway:
        answering = await refusing_with_a_call(gateway, backend)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await gateway.stub.Segment(request("tree"))
        backend.may_go_on.set()
        answer = await answering

    error = read_error(refused.value)
    assert error is not None
    assert (error.type, error.headers["Retry-After"]) == ("not-ready", "1")
    assert answer.segments


async def test_a_connection_without_a_call_ends_while_that_of_another_goes_on() -> None:
    backend = SlowBackend()
    async with calling(backend=backend) as gateway, channel_to(gateway) as other:
        await SegmentationStub(other).ListModels(pb.ListModelsRequest())
        answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        gateway.server.leave()
        async with asyncio.timeout(10):
            while (state := other.get_state()) is grpc.ChannelConnectivity.READY:
                await other.wait_for_state_change(state)
        assert not answering.done()
        backend.may_go_on.set()

        assert (await answering).segments


async def test_a_call_that_takes_longer_than_the_server_has_is_ended() -> None:
    backend = SlowBackend()
    async with calling(backend=backend, drain_seconds=0.1) as gateway:
        answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        await asyncio.wait_for(gateway.server.close(), 5)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await answering

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_where_the_system_lists_no_files_what_was_taken_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "OPEN_FILES", "/nowhere")
    backend = SlowBackend()
    async with calling(backend=backend) as gateway:
        answering = await refusing_with_a_call(gateway, backend)
        backend.may_go_on.set()

        assert (await answering).segments


async def test_files_that_are_looked_at_are_closed_again() -> None:
    before = len(os.listdir(leaving.OPEN_FILES))
    for _ in range(3):
        assert list(leaving.connections(1)) == []

    assert len(os.listdir(leaving.OPEN_FILES)) == before


def channel_to(gateway: Gateway) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{gateway.server.port}", options=OWN)


async def code_of_call(channel: grpc.aio.Channel, question: pb.SegmentRequest) -> list[grpc.StatusCode]:
    try:
        await SegmentationStub(channel).Segment(question, timeout=30)
    except grpc.aio.AioRpcError as error:
        return [error.code()]
    return [grpc.StatusCode.OK]


async def refusing_with_a_call(gateway: Gateway, backend: SlowBackend) -> asyncio.Future[pb.SegmentResponse]:
    """A call that is worked on, of a server that has been told to go and takes no new ones."""
    answering = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
    await backend.reached.wait()
    gateway.server.leave()
    async with asyncio.timeout(10):
        while not gateway.server._service.calls.refused:
            await asyncio.sleep(0.001)
    return answering
