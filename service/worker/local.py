"""A worker inside the gateway's own process: `lexiseg serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from model import catalog
from model.types import ModelCard
from service.errors import DeadlineExceeded, NotReady
from service.gateway.backend import Health
from service.messages import WorkerAnswer, WorkerRequest
from service.metrics import Metrics
from service.settings import Settings
from service.tracing import Tracing
from service.worker.device_memory import watch_device
from service.worker.engine import Engine

logger = structlog.get_logger("lexiseg.worker")


class LocalWorker:
    """Loads the model in the background and relays to its engine."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        on_failure: Callable[[], None] = lambda: None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._on_failure = on_failure
        self._tracing = tracing
        self._cards = [catalog.find(settings.model, settings.models_dir).card]
        self._engine: Engine | None = None
        self._failure: str | None = None
        self._loading: asyncio.Task[None] | None = None
        self._closing = False
        self._loaded = [metrics.loaded.labels(card.name, card.version) for card in self._cards]  # 0 from the start

    def health(self) -> Health:
        if self._failure:
            return Health(False, False, self._failure)
        if self._closing:
            return Health(True, False, "going down")
        if self._engine is None:
            return Health(True, False, f"loading {self._settings.model}")
        return Health(True, True, f"{self._settings.model} is warmed up", self._engine.degraded)

    def cards(self) -> list[ModelCard]:
        return self._cards

    def digest(self, name: str) -> str | None:
        return self._engine.segmenter.digest if self._engine else None

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        if self._engine is None or self._closing:
            raise NotReady(self.health().detail)
        answer = asyncio.wrap_future(self._engine.submit(request))
        try:
            # The client hears of its deadline when it passes, whatever stage the work is in.
            return await asyncio.wait_for(answer, request.deadline - time.monotonic())
        except TimeoutError:
            raise DeadlineExceeded(
                f"no answer within the deadline of {self._settings.deadline_seconds:g} seconds"
            ) from None

    async def start(self) -> None:
        self._loading = asyncio.create_task(asyncio.to_thread(self._load))

    async def close(self) -> None:
        self._closing = True
        for loaded in self._loaded:
            loaded.set(0)
        if self._loading:
            await self._loading
        if self._engine:
            await asyncio.to_thread(self._engine.close, self._settings.drain_seconds)

    def _load(self) -> None:
        try:
            segmenter = catalog.load(
                self._settings.model, models_dir=self._settings.models_dir, device=self._settings.device
            )
            watch_device(self._settings.device, self._metrics)
            engine = Engine(segmenter, self._settings, self._metrics, self._tracing)
            engine.warm_up()
        except Exception as error:
            logger.exception("the model cannot be loaded", model=self._settings.model)
            self._failure = f"{self._settings.model} cannot be loaded: {error}"
            self._on_failure()
            return
        self._engine = engine
        for loaded in self._loaded:
            loaded.set(1)
        logger.info("ready", model=segmenter.card.name, digest=segmenter.digest)
