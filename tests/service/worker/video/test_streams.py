import asyncio
import gc
import weakref

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import TileFeatures
from tests.service.worker.gated_colours import GatedColours, ask, halves
from tests.service.worker.video.streaming import all_of, frame, question, stream, take, working
from tests.waiting import SOON, soon


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
