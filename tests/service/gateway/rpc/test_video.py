from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from lexiseg_model.video.memory import VideoMemory
from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.question.stream_messages import FrameAnswer, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.errors import read_error
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.video.session import Session
from tests import pictures
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.rpc.calling import Gateway, calling
from tests.service.worker.gated_colours import SOON, GatedColours, halves

PICTURE = halves("r", "b")
Call = grpc.aio.StreamStreamCall[pb.SegmentVideoRequest, pb.SegmentVideoResponse]


@asynccontextmanager
async def over_colours(**settings: Any) -> AsyncIterator[tuple[Gateway, EngineBackend]]:
    """A gateway over an engine of gated colours."""
    values = {"deadline_seconds": SOON, **settings}
    backend = EngineBackend(GatedColours(), Metrics(), settings=Settings(**values))
    try:
        async with asyncio.timeout(3 * SOON), calling(backend=backend, **values) as gateway:
            yield gateway, backend
    finally:
        gate(backend).gate.set()
        backend.engine.close(SOON)


def gate(backend: EngineBackend) -> GatedColours:
    segmenter = backend.engine.models.acquire("colours").result().segmenter
    assert isinstance(segmenter, GatedColours)
    return segmenter


def config(*classes: str, **fields: Any) -> pb.SegmentVideoRequest:
    """About red and blue unless said otherwise, and nothing else in the picture."""
    listed = [pb.Class(name=name) for name in classes or ("red", "blue")]
    return pb.SegmentVideoRequest(config=pb.StreamConfig(**{"classes": listed, **fields}))


def frame(image: bytes = PICTURE, **fields: Any) -> pb.SegmentVideoRequest:
    return pb.SegmentVideoRequest(frame=pb.Frame(image=image, **fields))


async def opened(gateway: Gateway, *messages: pb.SegmentVideoRequest) -> Call:
    call = gateway.stub.SegmentVideo()
    for message in messages:
        await call.write(message)
    return call


async def read(call: Call, n: int) -> list[pb.SegmentVideoResponse]:
    answers = []
    for _ in range(n):
        answer = await call.read()
        assert isinstance(answer, pb.SegmentVideoResponse), "the stream ended"
        answers.append(answer)
    return answers


async def rest(call: Call) -> list[pb.SegmentVideoResponse]:
    await call.done_writing()
    answers = []
    while isinstance(answer := await call.read(), pb.SegmentVideoResponse):
        answers.append(answer)
    return answers


async def soon(condition: Any) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.01)


async def test_answers_come_in_order_with_names_times_and_numbers() -> None:
    async with over_colours() as (gateway, _):
        frames = [frame(timestamp_us=40_000 * number, id=f"f{number}" if number % 2 else "") for number in range(12)]
        answers = await rest(await opened(gateway, config(tracking=True, smoothing=0.5), *frames))

    assert [answer.frame_id for answer in answers] == [f"f{n}" if n % 2 else str(n) for n in range(12)]
    assert [answer.timestamp_us for answer in answers] == [40_000 * number for number in range(12)]
    for answer in answers:
        assert [segment.label for segment in answer.answer.segments] == ["red", "blue"]
        assert [segment.track_id for segment in answer.answer.segments] == [1, 2]
        assert answer.answer.segments[0].mask.coco_rle.counts
        assert answer.answer.timings_ms.total > 0
        assert not answer.dropped
        assert not answer.HasField("error")


async def test_a_broken_frame_yields_an_error_entry_and_the_stream_goes_on() -> None:
    async with over_colours() as (gateway, _):
        call = await opened(
            gateway, config(), frame(), frame(b"words", id="words"), frame(PICTURE[:-40], id="cut"), frame()
        )
        answers = await rest(call)

        assert await call.code() is grpc.StatusCode.OK
        assert gateway.counted("lexiseg_request_failures_total", reason="decode") == 2
    assert [answer.error.type for answer in answers] == ["", "unsupported-image", "undecodable-image", ""]
    assert [answer.frame_id for answer in answers] == ["0", "words", "cut", "3"]
    assert [answer.HasField("answer") for answer in answers] == [True, False, False, True]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (config(smoothing=0.96), "smoothing"),
        (config(smoothing=float("nan")), "smoothing"),
        (config(frames_in_flight=17), "frames_in_flight"),
        (config(frames_in_flight=0), "frames_in_flight"),
        (config(drop_policy=7), "drop_policy"),
        (config(task=pb.TASK_PROMPT), "task"),
        (config(task=99), "task"),
        (config(classes=[]), "classes"),
        (config("red", "red"), "classes.1"),
        (config(threshold=2), "threshold"),
        (config(vocabulary="voc20"), "vocabulary"),
    ],
)
async def test_a_config_out_of_range_ends_the_stream(message: pb.SegmentVideoRequest, field: str) -> None:
    async with over_colours() as (gateway, _):
        call = await opened(gateway, message)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await rest(call)

    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = read_error(failure.value)
    assert error is not None
    assert error.type == "invalid-value"
    assert error.extra["errors"][0]["field"] == field


async def test_an_unknown_model_or_vocabulary_ends_the_stream() -> None:
    async with over_colours() as (gateway, _):
        for message in (config(model="none-such"), config(classes=[], vocabulary="none-such")):
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await rest(await opened(gateway, message))
            assert failure.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("message", [frame(), pb.SegmentVideoRequest()])
async def test_a_stream_begins_with_a_config(message: pb.SegmentVideoRequest) -> None:
    async with over_colours() as (gateway, _):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await rest(await opened(gateway, message))

    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_frame_id_too_long_is_refused() -> None:
    async with over_colours() as (gateway, _):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await rest(await opened(gateway, config(), frame(id="x" * 129)))

    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_question_counts_as_a_request_and_too_many_end_the_stream() -> None:
    async with over_colours(rate_limit=0.01, rate_burst=3) as (gateway, _):
        call = await opened(gateway, config(), frame(), config("red"), frame(), config("blue"), frame(), config("red"))
        answers = await read(call, 3)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await rest(call)

    assert all(answer.HasField("answer") for answer in answers)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    error = read_error(failure.value)
    assert error is not None
    assert (error.type, error.headers["Retry-After"]) == ("rate-limited", "100")


async def test_another_question_takes_no_second_place() -> None:
    async with over_colours(rate_limit=0.01, rate_burst=2, concurrency_limit=1) as (gateway, _):
        answers = await rest(await opened(gateway, config(), frame(), config("red"), frame()))

    assert [answer.HasField("answer") for answer in answers] == [True, True]


async def test_a_config_may_change_in_the_middle() -> None:
    async with over_colours() as (gateway, _):
        changed = config("blue", mask=pb.MASK_FORMAT_POLYGON)
        before, after = await rest(await opened(gateway, config("red"), frame(), changed, frame()))

    assert [segment.label for segment in before.answer.segments] == ["red"]
    assert [segment.label for segment in after.answer.segments] == ["blue"]
    assert before.answer.segments[0].mask.HasField("coco_rle")
    assert after.answer.segments[0].mask.HasField("polygon")
    assert (before.state_reset, after.state_reset) == (False, True)


async def test_a_malformed_change_ends_the_stream_after_the_frames_before_it() -> None:
    async with over_colours() as (gateway, _):
        call = await opened(gateway, config(), frame(), frame(), config(smoothing=3), frame())
        assert [answer.frame_id for answer in await read(call, 2)] == ["0", "1"]
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await read(call, 1)

    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_that_is_silent_is_ended() -> None:
    for seconds in (0.1, 1, 10):  # on a slow machine the frame itself may come too late for the first
        answers = []
        async with over_colours(stream_idle_seconds=seconds) as (gateway, backend):
            call = await opened(gateway, config(), frame())
            try:
                while True:
                    answers += await read(call, 1)
            except grpc.aio.AioRpcError as failure:
                code, details = failure.code(), failure.details() or ""
            await soon(lambda backend=backend: len(backend.streams) == 0)
        if answers:
            break

    assert len(answers) == 1
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert f"{seconds:g} seconds" in details


async def test_a_stream_that_does_not_say_what_it_wants_is_soon_ended_and_took_no_place() -> None:
    for seconds in (0.2, 2, 10):  # on a slow machine the stream that says what it wants may come too late, too
        settings = {"stream_first_seconds": seconds, "max_streams": 2, "client_share": 0.5}
        async with over_colours(**settings) as (gateway, _):
            silent = [gateway.stub.SegmentVideo() for _ in range(3)]
            answers = []
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                answers = await rest(await opened(gateway, config(), frame()))
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await silent[0].read()

            assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert f"no message came for {seconds:g} seconds" in (failure.value.details() or "")
            # the other silent streams end when their own time is over
            await soon(lambda gateway=gateway: gateway.counted("lexiseg_cache_bytes", cache="requests") == 0)
        if answers:
            break

    assert len(answers) == 1


async def test_one_client_has_its_part_of_the_places_for_streams() -> None:
    keys = SecretStr(f"{line_of('one', 'first')},{line_of('other', 'second')}")
    async with over_colours(max_streams=2, client_share=0.5, api_keys=keys) as (gateway, _):

        async def begun(key: str) -> Call:
            call = gateway.stub.SegmentVideo(metadata=(("x-api-key", key),))
            await call.write(config())
            await call.initial_metadata()
            return call

        first, other = await begun("first"), await begun("second")
        refused = await begun("first")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await refused.read()
        error = read_error(failure.value)
        assert error is not None
        assert error.type == "rate-limited"
        for call in (first, other):
            await call.write(frame())
            assert len(await rest(call)) == 1


async def test_a_client_that_takes_no_answers_gives_its_place_up_and_hears_of_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    large = pictures.encoded(Image.fromarray(noise))
    for seconds in (0.5, 2, 10):  # on a slow machine the client itself may be silent for longer than the first
        async with over_colours(stream_idle_seconds=seconds, max_streams=1) as (gateway, backend):
            call = await opened(gateway, config(overlay=True))
            # Answers of a megabyte each, more than a connection holds.
            sending = asyncio.ensure_future(call.write(frame(large)))
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # the call is over
                for _ in range(15):
                    await sending
                    sending = asyncio.ensure_future(call.write(frame(large)))
                    await soon(
                        lambda sending=sending, backend=backend: (
                            sending.done() or (backend.taken and not backend.streams._open)
                        )
                    )
                    if not sending.done():
                        break
            await soon(lambda backend=backend: not backend.streams._open)

            with suppress(grpc.aio.AioRpcError):
                while isinstance(await call.read(), pb.SegmentVideoResponse):
                    pass
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await sending
            code, details = await call.code(), await call.details() or ""
        if "no message" not in details:
            break

    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert f"no answer was taken for {seconds:g} seconds" in details


async def test_stale_frames_are_dropped_and_reported() -> None:
    async with over_colours() as (gateway, backend):
        gate(backend).gate.clear()
        call = await opened(gateway, config(drop_policy=pb.DROP_POLICY_LATEST), *[frame()] * 9)
        await soon(lambda: backend.taken == 9)
        assert backend.engine.in_flight == 2
        gate(backend).gate.set()
        answers = await rest(call)

    assert [answer.frame_id for answer in answers] == [str(number) for number in range(9)]
    assert [answer.dropped for answer in answers] == [False] * 2 + [True] * 6 + [False]
    assert [answer.HasField("answer") for answer in answers] == [True] * 2 + [False] * 6 + [True]


async def test_nothing_is_dropped_unless_asked_for() -> None:
    async with over_colours() as (gateway, backend):
        gate(backend).gate.clear()
        call = await opened(gateway, config(frames_in_flight=2))
        for _ in range(21):
            await call.write(frame())
        await soon(lambda: backend.engine.in_flight == 2)
        gate(backend).gate.set()
        answers = await rest(call)

    assert backend.most_ahead == 2
    assert len(answers) == 21
    assert not any(answer.dropped for answer in answers)


async def test_a_gateway_that_goes_down_answers_what_it_took() -> None:
    async with over_colours() as (gateway, backend):
        gate(backend).gate.clear()
        call = await opened(gateway, config(), frame(), frame())
        await soon(lambda: backend.engine.in_flight == 2)
        gateway.server.leave()
        gate(backend).gate.set()
        answers = await read(call, 2)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await read(call, 1)

    assert [answer.HasField("answer") for answer in answers] == [True, True]
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_two_hundred_frames_leave_no_memory_behind() -> None:
    picture = pictures.encoded(pictures.small(side=160), "JPEG", quality=100)
    async with over_colours() as (gateway, backend):

        async def frames(n: int) -> None:
            call = await opened(gateway, config(tracking=True, smoothing=0.8))
            for _ in range(n // 10):
                for _ in range(10):
                    await call.write(frame(picture))
                assert all(answer.HasField("answer") for answer in await read(call, 10))
            assert not await rest(call)
            await soon(lambda: len(backend.streams) == 0 and backend.engine.in_flight == 0)

        await frames(50)  # whatever is made once
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await frames(200)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

        await soon(nothing_of_streams)
        assert gateway.counted("lexiseg_cache_bytes", cache="streams") == 0
    assert 200 * len(picture) > 2 << 20  # what would be left if frames were
    assert grown < 1 << 20


async def test_fifty_abandoned_streams_leave_nothing() -> None:
    async with over_colours() as (gateway, backend):
        for _ in range(50):
            call = await opened(gateway, config(tracking=True, smoothing=0.8), *[frame()] * 5)
            await read(call, 1)
            call.cancel()
        await soon(lambda: len(backend.streams) == 0 and backend.engine.in_flight == 0)
        await soon(lambda: gateway.server.running == 0)

        await soon(nothing_of_streams)


def nothing_of_streams() -> bool:
    """A thread may still be about to let go of the last."""
    gc.collect()
    return next(of_streams(), None) is None


def of_streams() -> Iterator[object]:
    """What streams are made of, as far as it is alive."""
    # Not isinstance: it would wake the lazy things that other modules keep.
    kinds = (Session, VideoMemory, VideoFrame, FrameAnswer, Job)
    return (thing for thing in gc.get_objects() if type(thing) in kinds)
