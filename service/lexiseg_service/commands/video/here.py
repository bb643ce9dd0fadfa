"""A video through the engine in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from lexiseg_service.commands.classes import resolved
from lexiseg_service.commands.loading import check_model, load
from lexiseg_service.commands.video.question import FRAMES_IN_FLIGHT, Ask, VideoQuestion
from lexiseg_service.question.messages import FrameAnswer, StreamQuestion, VideoFrame, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics


@contextmanager
def opened(video_question: VideoQuestion, settings: Settings) -> Iterator[Ask]:
    """Loads the model; the engine is there while the block runs. Not inside an event loop.

    Raises:
        ServiceError: the classes or a value are not as expected.
        ModelError: the model cannot be loaded.
    """
    question = video_question.question
    vocabulary = resolved(question.validated(), settings)
    check_model(settings, question.task)
    # They import torch: after everything that may be refused.
    from lexiseg_service.worker.engine import Engine
    from lexiseg_service.worker.video.streams import Streams

    segmenter = load(settings, question.task)
    request = WorkerRequest(
        None,
        vocabulary,
        segmenter.card.name,
        task=question.task,
        threshold=question.threshold,
        max_side=question.max_side,
    )
    stream_question = StreamQuestion(
        request, video_question.smoothing, video_question.tracking, video_question.drop_policy, FRAMES_IN_FLIGHT
    )
    metrics = Metrics()
    engine = Engine(segmenter, settings, metrics)

    async def steps(frames: AsyncIterator[VideoFrame]) -> AsyncGenerator[StreamQuestion | VideoFrame, None]:
        yield stream_question
        async for frame in frames:
            yield frame

    async def ask(frames: AsyncIterator[VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        streams = Streams(engine, settings, metrics)
        async with aclosing(steps(frames)) as asked_steps, aclosing(streams.answers(asked_steps)) as answers:
            async for answer in answers:
                yield answer

    try:
        yield ask
    finally:
        engine.close(0)
