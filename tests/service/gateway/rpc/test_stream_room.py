"""What a stream may have a gateway hold: before it said what it wants, while it is silent, and after it failed."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from lexiseg_service.gateway.admission import key_file
from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.question.stream_messages import VideoFrame
from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationStub
from tests.service.gateway.rpc.calling import calling, request
from tests.service.gateway.rpc.stalling import stalling
from tests.service.gateway.rpc.streaming import config, frame, opened, over_colours, read, rest, soon
from tests.service.gateway.rpc.test_frame import failure, kind
from tests.service.worker.gated_colours import SOON

LARGE = 3_000_000  # bytes of a message


async def test_the_first_message_of_a_stream_takes_room_like_that_of_a_call() -> None:
    keys = SecretStr(line_of("camera", "right"))
    settings = {"max_bytes_in_flight": 1000, "client_share": 1, "deadline_seconds": 0.2, "api_keys": keys}
    async with over_colours(**settings) as (gateway, _):
        silent = gateway.stub.SegmentVideo(metadata=(("x-api-key", "right"),))
        await soon(lambda: gateway.counted("lexiseg_cache_bytes", cache="requests") > 0)
        second = gateway.stub.SegmentVideo(metadata=(("x-api-key", "right"),))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await second.read()
        silent.cancel()

    assert kind(refused.value) == "rate-limited"


async def test_a_stream_that_said_what_it_wants_keeps_no_room_for_its_next_frame() -> None:
    async with over_colours(max_bytes_in_flight=1000, client_share=1) as (gateway, _):
        call = await opened(gateway, config())
        await call.initial_metadata()
        await soon(lambda: gateway.counted("lexiseg_cache_bytes", cache="requests") == 0)
        beside = await rest(await opened(gateway, config(), frame()))
        call.cancel()

    assert len(beside) == 1


async def test_frames_that_come_before_there_is_room_are_bounded_and_small_ones_pass_them() -> None:
    half = pb.SegmentVideoRequest(frame=pb.Frame(image=bytes(900_000)))
    settings: dict[str, Any] = {"max_bytes_in_flight": 4_000_000, "limits": {"max_grpc_bytes": 1_000_000}}
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        over_colours(**settings) as (gateway, _),
        stalling(gateway.server.port, 600_000) as slow,
        AsyncExitStack() as channels,
    ):
        small = await opened(gateway, config(), frame())
        await read(small, 1)
        large = []
        for _ in range(3):
            channel = await channels.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{slow}", own))
            large.append(SegmentationStub(channel).SegmentVideo())
            await large[-1].write(config())
            await large[-1].initial_metadata()
        writes = [asyncio.ensure_future(call.write(half)) for call in large]
        ends = {asyncio.ensure_future(call.code()) for call in large}
        while len(ends) > 1:
            ended, ends = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert {end.result() for end in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        await small.write(frame())
        answers = await rest(small)

        assert [len(answer.answer.segments) for answer in answers] == [2]
        assert len(ends) == 1
        for call in large:
            call.cancel()
        await asyncio.gather(*writes, *ends, return_exceptions=True)


async def test_of_a_silent_stream_no_frame_is_kept() -> None:
    async with over_colours(feature_cache_bytes=0) as (gateway, backend):
        call = await opened(gateway, config(tracking=True), frame())
        await read(call, 1)
        gc.collect()

        await soon(lambda: not any(type(thing) is VideoFrame for thing in gc.get_objects()))
        assert len(backend.streams) == 1
        call.cancel()


async def test_of_a_stream_that_fails_no_message_is_kept() -> None:
    message = pb.SegmentVideoRequest(frame=pb.Frame(image=bytes(LARGE)))
    async with asyncio.timeout(SOON), calling() as gateway:
        tracemalloc.start()
        try:
            for _ in range(5):
                call = await opened(gateway, message)
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            await soon(lambda: gateway.server.running == 0)
            gc.collect()
            kept = [trace.size for trace in tracemalloc.take_snapshot().traces if trace.size >= LARGE]
        finally:
            tracemalloc.stop()

    assert len(kept) <= 1  # gRPC's own, of the last


async def test_a_stream_ends_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "LOOK_SECONDS", 0.0)
    known = tmp_path / "keys.txt"
    known.write_text(line_of("camera", "right"))
    async with over_colours(api_keys_file=known) as (gateway, _):
        call = gateway.stub.SegmentVideo(metadata=(("x-api-key", "right"),))
        for message in (config(), frame()):
            await call.write(message)
        answers = await read(call, 1)
        known.write_text(line_of("another", "different") + "\n")
        await call.write(frame())
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        refused = await failure(gateway.stub.Segment(request("sky"), metadata=(("x-api-key", "right"),)))

    assert answers[0].HasField("answer")
    assert kind(ended.value) == kind(refused) == "unauthorized"
