"""What a call may have a gateway hold, before its key is known and after."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.rpc import frame
from lexiseg_service.gateway.rpc.fields import has_more_values
from lexiseg_service.question.asked import Asked
from lexiseg_service.stubs import segmentation_pb2 as pb
from tests.service.gateway.rest.test_guard import SlowBackend
from tests.service.gateway.rpc.calling import Gateway, calling, request
from tests.service.gateway.rpc.test_frame import SEGMENT, failure, kind

KEYS = SecretStr(line_of("camera", "right"))
KEY = (("x-api-key", "right"),)
SOON = 20.0
UNSENT = [SEGMENT, "/lexiseg.v1.Segmentation/ListModels"]


def unsent(gateway: Gateway, method: str, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
    """A call whose message is still to come; on the wire it is like any other."""
    return gateway.channel.stream_unary(method)(metadata=metadata)


@pytest.mark.parametrize("method", UNSENT)
async def test_a_call_without_a_key_is_refused_before_its_message_comes(method: str) -> None:
    async with asyncio.timeout(SOON), calling(api_keys=KEYS) as gateway:
        error = await failure(unsent(gateway, method))

    assert (error.code(), kind(error)) == (grpc.StatusCode.UNAUTHENTICATED, "unauthorized")


async def test_a_message_that_does_not_come_in_time_ends_its_call() -> None:
    async with asyncio.timeout(SOON), calling(api_keys=KEYS, body_seconds=0.1) as gateway:
        error = await failure(unsent(gateway, SEGMENT, KEY))

    assert (error.code(), kind(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline-exceeded")
    assert "0.1 seconds" in str(error.details())


async def test_a_call_without_a_message_is_malformed() -> None:
    async with asyncio.timeout(SOON), calling() as gateway:
        call = unsent(gateway, SEGMENT)
        await call.done_writing()
        error = await failure(call)

    assert (error.code(), kind(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "malformed-request")


async def test_a_message_waits_until_there_is_room_for_it() -> None:
    backend = SlowBackend()
    async with asyncio.timeout(SOON), calling(backend=backend, max_bytes_in_flight=1000, client_share=1) as gateway:
        first = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        second = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        while gateway.counted("lexiseg_grpc_active") < 2:
            await asyncio.sleep(0.01)
        backend.may_go_on.set()
        answers = await asyncio.gather(first, second)

        assert gateway.counted("lexiseg_cache_bytes", cache="requests") == 0
    assert all(answer.segments for answer in answers)


async def test_who_waits_for_room_too_long_is_told_when_to_come_again() -> None:
    backend = SlowBackend()
    settings: dict[str, Any] = {"max_bytes_in_flight": 1000, "client_share": 1, "deadline_seconds": 0.2}
    async with asyncio.timeout(SOON), calling(backend=backend, **settings) as gateway:
        first = asyncio.ensure_future(gateway.stub.Segment(request("sky")))
        await backend.reached.wait()
        error = await failure(gateway.stub.Segment(request("sky")))
        backend.may_go_on.set()
        await first

    assert (error.code(), kind(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate-limited")


async def test_no_more_calls_than_there_may_be_at_a_time() -> None:
    async with asyncio.timeout(SOON), calling(max_calls=2) as gateway:
        call = gateway.stub.SegmentVideo()
        await call.write(pb.SegmentVideoRequest(config=pb.StreamConfig(classes=[pb.Class(name="sky")])))
        await call.initial_metadata()
        error = await failure(gateway.stub.ListModels(pb.ListModelsRequest()))
        call.cancel()

    assert (error.code(), kind(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate-limited")


async def test_values_of_messages_are_counted_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[str]()

    def counted(content: bytes, of: Any, most: int) -> bool:
        threads.add(threading.current_thread().name)
        return has_more_values(content, of, most)

    monkeypatch.setattr(frame, "has_more_values", counted)
    monkeypatch.setattr(frame, "VALUES_HERE", 1)
    async with asyncio.timeout(SOON), calling() as gateway:
        await asyncio.gather(*(gateway.stub.Segment(request("sky")) for _ in range(8)))

    assert threads == {threading.current_thread().name, "lane_0"}


async def test_a_message_of_countless_values_is_refused_before_it_is_parsed() -> None:
    swarm = request("sky").SerializeToString() + b"\x12\0" * 1_000_000
    async with asyncio.timeout(SOON), calling() as gateway:
        call: Any = gateway.channel.unary_unary(SEGMENT)
        error = await failure(call(swarm))

    assert (error.code(), kind(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "too-large")
    assert "more than 89,064 values" in str(error.details())


async def test_a_message_of_thousands_of_values_is_read_beside_the_event_loop() -> None:
    async with asyncio.timeout(SOON), calling() as gateway:
        answer = await gateway.stub.Segment(request(*(f"word {n}" for n in range(2000))))

    assert answer.model == "colours"


async def test_what_is_refused_is_gone_with_its_answer() -> None:
    gc.collect()
    gc.disable()
    try:
        async with asyncio.timeout(SOON), calling() as gateway:
            for _ in range(10):
                await failure(gateway.stub.Segment(request("sky", image=pb.Image(content=b"no image"))))
            alive = sum(type(thing) is Asked for thing in gc.get_objects())
    finally:
        gc.enable()

    assert alive <= 1  # the last may be on its way
