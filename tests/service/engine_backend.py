"""A backend that is a real engine over colours."""

from __future__ import annotations

import asyncio

from model.segmenter import Segmenter
from model.types import ModelCard
from service.gateway.backend import Health
from service.messages import WorkerAnswer, WorkerRequest
from service.metrics import Metrics
from service.settings import Settings
from service.tracing import Tracing
from service.worker.engine import Engine
from tests.model.stand_in import ColourSegmenter


class EngineBackend:
    """Warm from the start; whoever makes it closes its engine."""

    def __init__(
        self, segmenter: Segmenter | None = None, metrics: Metrics | None = None, tracing: Tracing | None = None
    ) -> None:
        self.engine = Engine(segmenter or ColourSegmenter(), Settings(), metrics or Metrics(), tracing)

    def health(self) -> Health:
        return Health(True, True, "colours are warmed up")

    def cards(self) -> list[ModelCard]:
        return [self.engine.segmenter.card]

    def digest(self, name: str) -> str | None:
        return self.engine.segmenter.digest

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return await asyncio.wrap_future(self.engine.submit(request))

    async def start(self) -> None: ...

    async def close(self) -> None: ...
