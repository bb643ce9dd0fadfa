"""Models, engine and streams of a worker as one backend, for its gRPC server and for commands without a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from typing import TypeVar

import structlog
import torch

from lexiseg_model.cards import ModelCard
from lexiseg_model.kernel import library
from lexiseg_model.model_name import ModelName
from lexiseg_model.resources.device import choose_device
from lexiseg_model.vocabulary.languages import load_languages
from lexiseg_service.errors import DeadlineExceeded, NotReady
from lexiseg_service.question.backend import Exemplified, Health, Taught
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.worker.crash_record import CrashRecord
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.models.pool import ModelPool
from lexiseg_service.worker.models.served import load, preloaded, served_models
from lexiseg_service.worker.models.watch import ModelWatch
from lexiseg_service.worker.video import Streams

T = TypeVar("T")
logger = structlog.get_logger("lexiseg.worker")


class ModelWorker:
    """Loads the default model in the background, the others on demand, and passes requests to the engine."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        on_failure: Callable[[], None] = lambda: None,
        tracing: Tracing | None = None,
        crashes: CrashRecord | None = None,
        *,
        # Warmed up before it is ready, and follows its folders; False: a command's, with one model to its end.
        resident: bool = True,
    ) -> None:
        self._settings = settings
        self._resident = resident
        self._metrics = metrics
        self._on_failure = on_failure
        self._served = served_models(settings)
        self._default = self._served[0].card.name
        self._pool = ModelPool(
            self._served,
            lambda served: load(served.name, settings),
            metrics,
            settings.model_memory_bytes,
            max(1, settings.queue_limit // 2),
        )
        self._engine = Engine(self._pool, settings, metrics, tracing, crashes)
        self._watch = ModelWatch(self._pool, settings, self._engine.prepare, metrics)
        self._streams = Streams(self._engine, settings, metrics)
        self._ready = False
        self.failure: str | None = None  # why the default model cannot be loaded
        self._loading: asyncio.Task[None] | None = None
        self._closing = False
        # Awaited until they are warmed up, not only loaded.
        self._to_warm_up = {ModelName.from_card(served.card) for served in preloaded(self._served)[1:]}

    def health(self) -> Health:
        if self.failure:
            return Health(False, False, self.failure)
        if self._closing:
            return Health(True, False, "going down")
        if not self._ready:
            return Health(True, False, f"loading {self._default}")
        awaited = self._to_warm_up | set(map(ModelName.from_card, self._pool.awaited))
        detail = f"{self._default} is warmed up"
        return Health(True, True, detail, self._engine.degraded, awaited=tuple(sorted(map(str, awaited))))

    def cards(self) -> list[ModelCard]:
        return self._pool.cards

    def digest(self, name: str) -> str | None:
        return self._pool.digest(name)

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return await self._in_time(self._engine.submit, request)

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        return await self._in_time(self._engine.exemplify, request)

    async def teach(self, request: WorkerRequest) -> Taught:
        return await self._in_time(self._engine.teach, request)

    def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        self._require_ready()
        return self._streams.answers(steps)

    def _require_ready(self) -> None:
        if not self._ready or self._closing:
            raise NotReady(self.health().detail)

    async def _in_time(self, submit: Callable[[WorkerRequest], Future[T]], request: WorkerRequest) -> T:
        """Answer at the deadline at the latest, whatever stage the request is in."""
        self._require_ready()
        answer = submit(request)
        try:
            async with asyncio.timeout(request.deadline - time.monotonic()):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            seconds = self._settings.deadline_seconds
            raise DeadlineExceeded(f"no answer within the deadline of {seconds:g} seconds") from None

    async def start(self) -> None:
        self._loading = asyncio.create_task(asyncio.to_thread(self._preload))

    async def close(self) -> None:
        self._closing = True
        await asyncio.to_thread(self._watch.close)
        await asyncio.to_thread(self._engine.close, self._settings.drain_seconds)
        if self._loading is not None:
            await self._loading

    def _preload(self) -> None:
        """Load the default model, without which nothing is served, then the others with `preload`."""
        try:
            self._watch_device()
            if self._resident:
                self._engine.warm_up(self._default)
            default = self._pool.acquire(self._default).result()
            words = default.segmenter.training_words()
            default.release()
        except Exception as error:
            if not self._closing:
                failure = self._pool.failures.get(self._default)  # and logged, with a traceback where one helps
                self.failure = failure or f"{self._default} cannot be loaded: {error}"
                logger.error(
                    "the default model cannot be loaded",
                    model=self._default,
                    reason=self.failure,
                    exc_info=None if failure else error,
                )
                self._on_failure()
            return
        self._engine.languages = load_languages(words)
        self._ready = True
        kernel = "compiled" if library.ready() else "numpy"
        digest, device = self._pool.digest(self._default), str(choose_device(self._settings.device))
        # Also the choice of `auto`: a GPU that is not found must show in the log.
        logger.info("ready", model=self._default, digest=digest, kernel=kernel, device=device)
        if self._resident:
            self._watch.start()
        for name in [ModelName.from_card(served.card) for served in preloaded(self._served)[1:]]:
            try:
                self._engine.warm_up(str(name))
            except Exception as error:  # it is tried again on demand
                if not self._closing:
                    logger.warning("no warm-up", model=name.name, error=str(error))
            self._to_warm_up = self._to_warm_up - {name}  # a new set: the event loop may be reading this one

    def _watch_device(self) -> None:
        device = choose_device(self._settings.device)
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            # Reserved and not allocated: no other process can have it.
            self._metrics.gpu_memory.labels(str(index)).set_function(lambda: torch.cuda.memory_reserved(index))
            self._metrics.gpu_memory_free.labels(str(index)).set_function(lambda: torch.cuda.mem_get_info(index)[0])
