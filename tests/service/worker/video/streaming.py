"""A stream over an engine of gated colours, step by step."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.video import Streams
from tests.service.worker.gated_colours import GatedColours, ask, halves
from tests.waiting import SOON

Step = StreamQuestion | VideoFrame | Exception
Answers = AsyncGenerator[FrameAnswer, None]


class Worker:
    """Engine and streams, to be used inside an event loop."""

    def __init__(self, **settings: Any) -> None:
        self.segmenter = GatedColours()
        self.metrics = Metrics()
        self.settings = Settings.model_validate({"deadline_seconds": SOON, "feature_cache_bytes": 0, **settings})
        self.engine = Engine(self.segmenter, self.settings, self.metrics)
        self.streams = Streams(self.engine, self.settings, self.metrics)

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def working(**settings: Any) -> Iterator[Worker]:
    worker = Worker(**settings)
    try:
        yield worker
    finally:
        worker.segmenter.gate.set()
        worker.engine.close(SOON)


class Sender:
    """Steps that a test gives one by one."""

    def __init__(self) -> None:
        self._steps: asyncio.Queue[Step | None] = asyncio.Queue()
        self.taken = 0  # steps that the stream has asked for
        self.read = self._frames = 0
        self.most_ahead = 0  # frames that it took beyond the answers after which the reader asked for the next

    def give(self, *steps: Step) -> None:
        for step in steps:
            self._steps.put_nowait(step)

    def end(self) -> None:
        self._steps.put_nowait(None)

    async def steps(self) -> AsyncIterator[StreamQuestion | VideoFrame]:
        while (step := await self._steps.get()) is not None:
            if isinstance(step, Exception):
                raise step
            self.taken += 1
            self._frames += isinstance(step, VideoFrame)
            self.most_ahead = max(self.most_ahead, self._frames - self.read)
            yield step

    async def counted(self, answers: Answers) -> Answers:
        async with aclosing(answers):
            async for answer in answers:
                yield answer
                self.read += 1


@asynccontextmanager
async def stream(worker: Worker, *steps: Step) -> AsyncGenerator[tuple[Sender, Answers], None]:
    """A sender that has given `steps`, and the answers."""
    sender = Sender()
    sender.give(*steps)
    answers = sender.counted(worker.streams.answers(sender.steps()))
    try:
        yield sender, answers
    finally:
        await answers.aclose()


async def all_of(answers: Answers) -> list[FrameAnswer]:
    async with asyncio.timeout(SOON):
        return [answer async for answer in answers]


async def answered(worker: Worker, *steps: Step) -> list[FrameAnswer]:
    """The answers to a sender that gives these steps and no more."""
    async with stream(worker, *steps) as (sender, answers):
        sender.end()
        return await all_of(answers)


async def take(answers: Answers, n: int) -> list[FrameAnswer]:
    async with asyncio.timeout(SOON):
        return [await anext(answers) for _ in range(n)]


def question(*classes: str, **fields: Any) -> StreamQuestion:
    """About red and blue unless said otherwise."""
    names = ("smoothing", "tracking", "drop_policy", "frames_in_flight", "resumed")
    of_stream = {name: fields.pop(name) for name in names if name in fields}
    return StreamQuestion(ask(*(classes or ("red", "blue")), **fields), **of_stream)


def frame(number: int, image: bytes | None = None) -> VideoFrame:
    """Red on the left and blue on the right unless said otherwise."""
    return VideoFrame(halves("r", "b") if image is None else image, str(number), 1000 * number)


def ids(answers: list[FrameAnswer]) -> list[str]:
    return [answer.frame_id for answer in answers]


def track_ids(answer: FrameAnswer) -> tuple[int | None, ...]:
    """Of the segments, in their order."""
    assert answer.answer is not None
    return tuple(segment.track_id for segment in answer.answer.segments)
