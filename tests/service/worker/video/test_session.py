import asyncio
import gc
import weakref
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from lexiseg_model.cards import PanopticRule
from lexiseg_model.features import TileFeatures
from lexiseg_service.errors import NotReady, QueueFull, UndecodableImage
from lexiseg_service.worker.models.pool import GOING_DOWN
from tests.service.worker.gated_colours import GatedColours, ask, halves
from tests.service.worker.video.streaming import (
    Step,
    all_of,
    answered,
    frame,
    ids,
    question,
    stream,
    take,
    track_ids,
    working,
)
from tests.waiting import SOON, soon


async def test_no_more_steps_are_taken_than_frames_may_be_in_flight() -> None:
    with working() as worker:
        worker.segmenter.gate.clear()
        steps: list[Step] = [question(frames_in_flight=3), *map(frame, range(10))]
        async with stream(worker, *steps) as (sender, answers):
            first = asyncio.ensure_future(anext(answers))
            await soon(lambda: worker.engine.in_flight == 3)
            worker.segmenter.gate.set()
            sender.end()
            received = [await first, *await all_of(answers)]

    assert sender.most_ahead == 3
    assert ids(received) == [str(number) for number in range(10)]


async def test_with_latest_a_waiting_frame_is_dropped_for_a_newer_one() -> None:
    with working() as worker:
        worker.segmenter.gate.clear()
        steps: list[Step] = [question(drop_policy="latest"), *map(frame, range(8))]
        async with stream(worker, *steps) as (sender, answers):
            first = asyncio.ensure_future(anext(answers))
            await soon(lambda: sender.taken == 9)
            worker.segmenter.gate.set()
            sender.end()
            received = [await first, *await all_of(answers)]

    assert ids(received) == [str(number) for number in range(8)]
    assert [answer.dropped for answer in received] == [False, False, True, True, True, True, True, False]
    assert all(answer.answer is None for answer in received if answer.dropped)
    assert worker.counted("lexiseg_stream_frames_total", result="dropped") == 5
    assert worker.counted("lexiseg_stream_frames_total", result="ok") == 3


async def test_an_unexpected_error_of_a_frame_shows_no_internals() -> None:
    with working() as worker:
        worker.segmenter.failures.append(RuntimeError("a secret of the house"))
        with capture_logs() as logs:
            received = await answered(worker, question(frames_in_flight=1), frame(0), frame(1))

    assert received[0].error is not None
    assert "secret" not in received[0].error.detail
    assert [line["error"] for line in logs if line["event"] == "a frame failed"] == ["RuntimeError"]
    assert received[1].answer is not None


async def test_tracks_are_numbered_over_frames_and_questions() -> None:
    with working() as worker:
        steps: list[Step] = [question(tracking=True), frame(0), frame(1), question("blue", tracking=True), frame(2)]
        received = await answered(worker, *steps)

    assert [track_ids(answer) for answer in received] == [(1, 2), (1, 2), (3,)]
    assert [answer.state_reset for answer in received] == [False, False, True]


async def test_after_a_frame_that_fails_in_its_answer_tracks_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with working() as worker:
        async with stream(worker, question(tracking=True), frame(0)) as (sender, answers):
            (first,) = await take(answers, 1)
            with monkeypatch.context() as broken:
                broken.setattr(worker.segmenter, "class_scores", None)
                sender.give(frame(1))
                (failed,) = await take(answers, 1)
            sender.give(frame(2))
            (last,) = await take(answers, 1)

    assert failed.error is not None
    assert [track_ids(first), track_ids(last)] == [(1, 2), (3, 4)]
    assert last.state_reset


async def test_smoothing_keeps_the_label_of_the_frames_before() -> None:
    amber = halves("a", "a")  # between red and green, a little nearer to red
    with working() as worker:
        steps: list[Step] = [
            question("red", "green", smoothing=0.9),
            *(frame(n, halves("g", "g")) for n in range(4)),
            frame(4, amber),
        ]
        steadied = (await answered(worker, *steps))[-1]
        (alone,) = await answered(worker, question("red", "green"), frame(0, amber))

    assert steadied.answer is not None
    assert alone.answer is not None
    assert [segment.label for segment in alone.answer.segments] == ["red"]
    assert [segment.label for segment in steadied.answer.segments] == ["green"]


async def test_a_full_engine_loses_nothing() -> None:
    with working(queue_limit=2) as worker:
        worker.segmenter.gate.clear()
        others = [worker.engine.submit(ask("red")) for _ in range(2)]
        async with stream(worker, question(), *map(frame, range(6))) as (sender, answers):
            first = asyncio.ensure_future(anext(answers))
            await soon(lambda: sender.taken == 5)
            worker.segmenter.gate.set()
            sender.end()
            received = [await first, *await all_of(answers)]
        for other in others:
            assert other.result().segments

    assert [(answer.frame_id, answer.error) for answer in received] == [(str(number), None) for number in range(6)]


async def test_a_frame_waits_for_a_full_engine_until_its_deadline() -> None:
    with working(queue_limit=1, deadline_seconds=0.2) as worker:
        worker.segmenter.gate.clear()
        worker.engine.submit(ask("red"))
        (answer,) = await answered(worker, question(), frame(0))

    assert isinstance(answer.error, QueueFull)


async def test_frames_failed_by_a_closing_engine_end_the_stream() -> None:
    with working() as worker:
        worker.segmenter.gate.clear()
        async with stream(worker, question(), frame(0), frame(1)) as (_, answers):
            first = asyncio.ensure_future(anext(answers))
            await soon(lambda: worker.engine.in_flight == 2)
            closing = asyncio.create_task(asyncio.to_thread(worker.engine.close, 0))
            with pytest.raises(NotReady, match=GOING_DOWN):
                await first
            worker.segmenter.gate.set()
            await closing


async def test_a_full_engine_is_asked_by_one_stream_of_a_client_at_a_time() -> None:
    with working(queue_limit=2) as worker:
        worker.segmenter.gate.clear()
        async with AsyncExitStack() as streams:
            opened = [await streams.enter_async_context(stream(worker, question(), frame(0))) for _ in range(8)]
            answers = [asyncio.ensure_future(all_of(received)) for _, received in opened]
            await soon(lambda: worker.engine.in_flight == 2)
            waiting = [session for session in worker.streams._open if session._waiting]

            assert len(waiting) == 6
            assert worker.streams._locks[""].locked()
            worker.segmenter.gate.set()
            for sender, _ in opened:
                sender.end()
            assert [ids(received) for received in await asyncio.gather(*answers)] == [["0"]] * 8


async def test_a_frame_that_fails_when_its_stream_is_left_logs_no_unretrieved_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    with working() as worker:
        work: Future[Any] = Future()
        monkeypatch.setattr(worker.engine, "submit", lambda *_: work)
        async with stream(worker, question(), frame(0)) as (_, answers):
            reading = asyncio.ensure_future(anext(answers))
            await soon(lambda: any(session._at_work for session in worker.streams._open))
            work.set_exception(UndecodableImage("none"))
            await asyncio.sleep(0)  # it is on its way from its thread
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            del reading
        await asyncio.sleep(0)
        gc.collect()

    assert complaints == []


async def test_another_task_begins_anew() -> None:
    with working() as worker:
        able = {"tasks": ["semantic", "panoptic"], "panoptic": PanopticRule(source="proposals")}
        worker.segmenter.card = worker.segmenter.card.model_copy(update=able)
        steps: list[Step] = [question(), frame(0), question(task="panoptic"), frame(1)]
        found = await answered(worker, *steps)

    assert [answer.state_reset for answer in found] == [False, True]


async def test_a_fast_stream_does_not_starve_a_single_image() -> None:
    with working(max_batch=1) as worker:
        passes = record(worker.segmenter)
        worker.segmenter.gate.clear()
        worker.engine.submit(ask("red"))
        assert await asyncio.to_thread(worker.segmenter.entered.acquire, timeout=SOON)
        async with stream(worker, question(frames_in_flight=16), *map(frame, range(16))) as (_, answers):
            pending = asyncio.ensure_future(take(answers, 16))
            await soon(lambda: worker.counted("lexiseg_queue_depth") == 16)
            single = worker.engine.submit(ask("green", image=halves("g", "g")))
            await soon(lambda: worker.counted("lexiseg_queue_depth") == 17)
            worker.segmenter.gate.set()
            await pending
            await asyncio.wrap_future(single)

    assert len(passes) == 18
    assert passes.index("green") <= 2  # behind the one on the device and one of the stream


def record(segmenter: GatedColours) -> list[str]:
    """What the image passes from now on see: the colour of the first pixel."""
    passes: list[str] = []
    encode = segmenter.encode_tiles

    def encode_tiles(tiles: NDArray[np.uint8]) -> TileFeatures:
        passes.extend(("red", "green", "blue")[int(tile[:, 0, 0].argmax())] for tile in tiles)
        return encode(tiles)

    segmenter.encode_tiles = encode_tiles  # type: ignore[method-assign]
    return passes


async def test_a_stream_that_ends_leaves_nothing() -> None:
    with working() as worker:
        sessions: list[weakref.ref[object]] = []
        for _ in range(3):
            async with stream(worker, question(smoothing=0.8, tracking=True), frame(0), frame(1)) as (sender, answers):
                await take(answers, 1)
                sessions += [weakref.ref(session) for session in worker.streams._open]
                assert worker.counted("lexiseg_stream_active") == 1
                assert worker.counted("lexiseg_cache_bytes", cache="streams") > 0
                sender.end()
                await all_of(answers)
            assert worker.counted("lexiseg_stream_active") == 0
            assert worker.counted("lexiseg_cache_bytes", cache="streams") == 0

        def gone() -> bool:  # a thread of the engine may still hold the last one
            gc.collect()
            return [session() for session in sessions] == [None] * 3

        await soon(gone)


async def test_queued_frames_of_an_abandoned_stream_are_not_computed() -> None:
    with working(max_batch=1) as worker:
        worker.segmenter.gate.clear()
        worker.engine.submit(ask("red"))
        assert await asyncio.to_thread(worker.segmenter.entered.acquire, timeout=SOON)
        async with stream(worker, question(), *map(frame, range(4))) as (_, answers):
            first = asyncio.ensure_future(anext(answers))
            await soon(lambda: worker.counted("lexiseg_queue_depth") == 4)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        assert not worker.streams._open
        worker.segmenter.gate.set()
        await soon(lambda: worker.engine.in_flight == 0)

    assert worker.segmenter.batches == [1]
