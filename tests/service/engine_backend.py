"""A backend that is a real engine over colours."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from lexiseg_model.cards import ModelCard
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.question.backend import Exemplified, Health, Taught
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.video import Streams
from tests.model.stand_in import ColourSegmenter


class EngineBackend:
    """Warm from the start; whoever makes it closes its engine. Counts what its video streams take from senders."""

    def __init__(
        self,
        segmenter: Segmenter | None = None,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
        settings: Settings | None = None,
    ) -> None:
        settings, metrics = settings or Settings(), metrics or Metrics()
        self.engine = Engine(segmenter or ColourSegmenter(), settings, metrics, tracing)
        self.streams = Streams(self.engine, settings, metrics)
        self.taken = 0  # frames

    def health(self) -> Health:
        return Health(True, True, "colours are warmed up")

    def cards(self) -> list[ModelCard]:
        return self.engine.models.cards

    def digest(self, name: str) -> str | None:
        return self.engine.models.digest(name)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return await asyncio.wrap_future(self.engine.submit(request))

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        return await asyncio.wrap_future(self.engine.exemplify(request))

    async def teach(self, request: WorkerRequest) -> Taught:
        return await asyncio.wrap_future(self.engine.teach(request))

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        async with aclosing(self.streams.answers(self._counted(steps))) as answers:
            async for answer in answers:
                yield answer

    async def _counted(
        self, steps: AsyncIterator[StreamQuestion | VideoFrame]
    ) -> AsyncGenerator[StreamQuestion | VideoFrame, None]:
        async for step in steps:
            self.taken += isinstance(step, VideoFrame)
            yield step
            del step

    async def start(self) -> None: ...

    async def close(self) -> None: ...
