"""The models of one worker, loaded on demand and evicted as an LRU within a budget of bytes.

Each request holds its model, and a held model stays in memory. One thread loads models, one at a time; concurrent
requests for a model wait for the same load (single-flight). If held models take all memory, the ones to evict accept no
new holder and are unloaded when released; later requests load them again. So two busy models that do not fit together
alternate, and neither starves.

A model that cannot be loaded is retried with backoff (`retry_failed`), as long as no other model has to be evicted for
it. Until then it is reported as `awaited`, so that gateways prefer workers that have it.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import structlog
import torch

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import ModelError, UnknownModelError
from lexiseg_model.model_name import ModelName
from lexiseg_model.resources.lru import Lru
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.vocabulary.bank import MAX_BANKS
from lexiseg_service.errors import NotReady, QueueFull, ServiceError, UnknownModel
from lexiseg_service.retries import backoff
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.models.served import Served

logger = structlog.get_logger("lexiseg.models")
GOING_DOWN = "the worker is going down"
RELOAD_SECONDS = 15.0  # after a failed load, before requests cause another attempt
MAX_BACKOFF = 16  # times RELOAD_SECONDS: the longest time between retries in the background
COMPUTE_THREADS = torch.get_num_threads()  # cores of a CPU


class Loaded:
    """A model in memory, with a count of holders; it is not unloaded while it has any."""

    def __init__(self, segmenter: Segmenter, changed: threading.Condition) -> None:
        self.segmenter = segmenter
        segmenter.banks = segmenter.banks or Lru(MAX_BANKS)
        self.holders = 0
        self.last_used = time.monotonic()
        self._changed = changed

    def release(self) -> None:
        with self._changed:
            self.holders -= 1
            self.last_used = time.monotonic()
            if not self.holders:
                self._changed.notify_all()

    @contextmanager
    def hold(self) -> Iterator[Segmenter]:
        with self._changed:
            self.holders += 1
        try:
            yield self.segmenter
        finally:
            self.release()


def give_up(model: Future[Loaded]) -> None:
    if not model.cancel() and model.exception() is None:
        model.result().release()


@dataclass(eq=False)
class _Slot:
    """One model that is served, loaded or not."""

    served: Served
    nbytes: int  # in memory; of its files before the first load
    loaded: Loaded | None = None
    evicting: bool = False  # accepts no new holder, and is unloaded after the last release
    waiting: list[Future[Loaded]] = field(default_factory=list)
    is_loading: bool = False  # its load is queued or running
    was_loaded: bool = False  # since the start
    failure: str | None = None  # of the last load
    n_failures: int = 0  # in a row
    retry_at: float = 0.0  # time.monotonic() from which a request causes a retry
    due_at: float = 0.0  # time.monotonic() of the next retry in the background

    def drained(self) -> list[Future[Loaded]]:
        waiting, self.waiting = self.waiting, []
        return waiting


class ModelPool:
    """The models that are served, the default one first; at most `max_waiting` requests wait for loads; thread-safe."""

    def __init__(
        self,
        served: Iterable[Served],
        open_model: Callable[[Served], Segmenter],
        metrics: Metrics,
        max_bytes: int | None = None,
        max_waiting: int = 32,
        pause: float = RELOAD_SECONDS,
    ) -> None:
        self._slots = {ModelName.from_card(model.card): _Slot(model, model.weights_bytes) for model in served}
        self._open_model = open_model
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._pause = pause
        self._changed = threading.Condition()
        self._open = True
        # As many torch threads as in the compute thread: a model may read the number when it is loaded.
        self._loader = ThreadPoolExecutor(1, "load", lambda: torch.set_num_threads(COMPUTE_THREADS))
        for slot in self._slots.values():
            self._update_metrics(slot)
        metrics.watch_cache("words", lambda: sum(loaded.segmenter.kept_bytes for _, loaded in self._in_memory()))

    @classmethod
    def from_segmenter(cls, segmenter: Segmenter, metrics: Metrics) -> ModelPool:
        served = Served(segmenter.card.name, segmenter.card)
        pool = cls([served], lambda _: segmenter, metrics)
        pool._enter(pool._slots[ModelName.from_card(segmenter.card)], segmenter)
        return pool

    def _in_memory(self) -> list[tuple[_Slot, Loaded]]:
        return [(slot, slot.loaded) for slot in tuple(self._slots.values()) if slot.loaded is not None]

    @property
    def served(self) -> list[Served]:
        """All models, loaded or not; the default one first."""
        return [slot.served for slot in self._slots.values()]

    @property
    def cards(self) -> list[ModelCard]:
        return [served.card for served in self.served]

    @property
    def awaited(self) -> list[ModelCard]:
        """Models with a first load that is under way, or a failed one that is retried."""
        slots = list(self._slots.values())
        return [
            slot.served.card for slot in slots if (slot.is_loading and not slot.was_loaded) or self._is_failing(slot)
        ]

    def load_unserved(self, new: Served) -> Segmenter:
        """Load a model without serving it yet, after the loads under way; may raise anything."""
        return self._loader.submit(self._open_model, new).result()

    def add(self, new: Served) -> bool:
        """Serve one more model, loaded on demand; False if its name and version are served already."""
        with self._changed:
            name = ModelName.from_card(new.card)
            if name in self._slots:
                return False
            slot = _Slot(new, new.weights_bytes)
            self._slots = self._slots | {name: slot}
            self._update_metrics(slot)
        return True

    def exchange(self, served: Served, new: Served, segmenter: Segmenter | None = None) -> bool:
        """Replace a model (without `segmenter` it is loaded on demand); False while the old one is being loaded."""
        with self._changed:
            slot = self._slots[ModelName.from_card(served.card)]
            if slot.is_loading:
                return False
            slot.loaded = None
            self._update_metrics(slot)  # of the old version
            slot.served, slot.nbytes, slot.n_failures = new, new.weights_bytes, 0
            slot.retry_at = slot.due_at = 0.0
            # In the same position: the first model is the default.
            self._slots = {ModelName.from_card(each.served.card): each for each in self._slots.values()}
            if segmenter is None:
                self._update_metrics(slot)
                return True  # after a failure it stays awaited until the new one has been loaded
            self._enter(slot, segmenter)
        return_memory()
        return True

    @property
    def failures(self) -> dict[str, str]:
        """By name, why the last load failed, of models that have not been loaded since."""
        return {
            self.display_name(slot.served): slot.failure for slot in self._slots.values() if slot.failure is not None
        }

    def display_name(self, served: Served) -> str:
        """Display name: NAME, or NAME@VERSION where several versions are served."""
        alike = sum(name.name == served.card.name for name in self._slots)
        return served.card.name if alike < 2 else str(ModelName.from_card(served.card))

    def digest(self, name: str) -> str | None:
        """Digest of a model's weights, NAME or NAME@VERSION; None while it is not loaded."""
        slot = self._slot(name)
        loaded = slot.loaded if slot else None
        return loaded.segmenter.digest if loaded else None

    def acquire(self, name: str) -> Future[Loaded]:
        """A model, NAME or NAME@VERSION, when it is loaded; the caller releases it, or cancels the future."""
        ready: Future[Loaded] = Future()
        with self._changed:
            slot = self._slot(name)
            if slot is None:
                raise UnknownModel.among(name, (self.display_name(each.served) for each in self._slots.values()))
            if not self._open:
                raise NotReady(GOING_DOWN)
            loaded = slot.loaded
            if loaded is None or slot.evicting:
                self._queue(slot, ready)
                return ready
            loaded.holders += 1
        ready.set_result(loaded)
        return ready

    def retry_failed(self) -> None:
        """Load, without a request, the models with a load that failed some time ago; evicts nothing."""
        for slot in list(self._slots.values()):
            if slot.failure is not None and time.monotonic() >= slot.due_at and self._has_room(slot):
                with suppress(NotReady, QueueFull):
                    self.acquire(str(ModelName.from_card(slot.served.card))).add_done_callback(give_up)

    def close(self) -> None:
        """Load nothing more, and fail the requests that wait for a model."""
        with self._changed:
            self._open = False
            waiting = [future for slot in self._slots.values() for future in slot.drained()]
            self._changed.notify_all()
        for future in waiting:
            _fail(future, NotReady(GOING_DOWN))
        self._loader.shutdown(wait=False, cancel_futures=True)
        for slot in self._slots.values():
            self._metrics.loaded.labels(slot.served.card.name, slot.served.card.version).set(0)

    def _slot(self, name: str) -> _Slot | None:
        try:
            model_name = ModelName.parse(name)
        except UnknownModelError:
            return None
        return next((slot for slot in self._slots.values() if model_name.fits(slot.served.card)), None)

    def _queue(self, slot: _Slot, ready: Future[Loaded]) -> None:
        pause = slot.retry_at - time.monotonic()
        if pause > 0:
            raise _not_loaded(slot, pause)
        n_waiting = sum(len(each.waiting) for each in self._slots.values())
        if n_waiting >= self._max_waiting:
            raise QueueFull(f"{n_waiting} requests wait for models to be loaded, which is the limit", 1)
        slot.waiting.append(ready)
        if not slot.is_loading:
            slot.is_loading = True
            self._loader.submit(self._load, slot)

    def _load(self, slot: _Slot) -> None:
        name = self.display_name(slot.served)
        with self._changed:
            if all(future.cancelled() for future in slot.waiting):
                slot.drained()
                slot.is_loading = False
                return
        began = time.monotonic()
        try:
            self._make_room(slot)
            segmenter = self._open_model(slot.served)
            slot.nbytes = segmenter.nbytes
            self._make_room(slot)  # now that its size is known
        except Exception as error:
            self._give_up(slot, error)
            return
        seconds = time.monotonic() - began
        with self._changed:
            if not self._open:
                return  # `close` has failed the waiting requests
            loaded = self._enter(slot, segmenter)
            slot.is_loading = False
            waiting = slot.drained()
            loaded.holders += len(waiting)
        self._metrics.load_seconds.labels(name).observe(seconds)
        logger.info("model loaded", model=name, digest=segmenter.digest, bytes=slot.nbytes, seconds=round(seconds, 3))
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(loaded)
            else:
                loaded.release()

    def _enter(self, slot: _Slot, segmenter: Segmenter) -> Loaded:
        slot.nbytes = segmenter.nbytes
        slot.loaded = Loaded(segmenter, self._changed)
        slot.was_loaded = True
        slot.failure, slot.n_failures = None, 0
        self._update_metrics(slot)
        return slot.loaded

    def _give_up(self, slot: _Slot, error: Exception) -> None:
        name = self.display_name(slot.served)
        with self._changed:
            is_open = self._open
            slot.is_loading = False
            slot.failure = f"{name} cannot be loaded: {error}"
            slot.retry_at = time.monotonic() + self._pause
            slot.due_at = time.monotonic() + backoff(slot.n_failures, self._pause, MAX_BACKOFF * self._pause)
            slot.n_failures += 1
            waiting = slot.drained()
        if is_open:
            expected = isinstance(error, ModelError | ServiceError)  # says in one sentence what to do
            logger.error(
                "the model cannot be loaded", model=name, reason=str(error), exc_info=None if expected else error
            )
            self._metrics.load_failures.labels(name).inc()
        for future in waiting:
            _fail(future, _not_loaded(slot, self._pause, error))

    def _is_failing(self, slot: _Slot) -> bool:
        """Whether the last load failed, and gateways should not wait for the next one."""
        if slot.failure is None:
            return False
        too_large = self._max_bytes is not None and slot.nbytes > self._max_bytes
        return too_large or time.monotonic() < slot.retry_at or self._has_room(slot)

    def _has_room(self, slot: _Slot) -> bool:
        """Whether it fits without an eviction."""
        return self._max_bytes is None or not any(True for _ in self._victims(slot.nbytes))

    def _make_room(self, slot: _Slot) -> None:
        """Evict models until this one fits, the least recently used first; wait for their holders."""
        if self._max_bytes is None:
            return
        if slot.nbytes > self._max_bytes:
            raise NotReady(f"it takes {slot.nbytes:,} bytes; LEXISEG_MODEL_MEMORY_BYTES allows {self._max_bytes:,}")
        with self._changed:
            victims = list(self._victims(slot.nbytes))
            for victim in victims:
                victim.evicting = True
            while leaving := [other for other in self._slots.values() if other.evicting]:
                if not self._open:
                    raise NotReady(GOING_DOWN)
                idle = [other for other in leaving if other.loaded is None or not other.loaded.holders]
                for other in idle:
                    self._unload(other)
                if not idle:
                    self._changed.wait()
        if victims:
            return_memory()

    def _victims(self, nbytes: int) -> Iterator[_Slot]:
        """Models to evict so that `nbytes` more fit."""
        assert self._max_bytes is not None
        in_memory = self._in_memory()
        too_many = sum(slot.nbytes for slot, _ in in_memory) + nbytes - self._max_bytes
        # Held models last.
        for slot, _ in sorted(in_memory, key=lambda pair: (pair[1].holders > 0, pair[1].last_used)):
            if too_many <= 0:
                return
            too_many -= slot.nbytes
            yield slot

    def _unload(self, slot: _Slot) -> None:
        slot.loaded = None
        slot.evicting = False
        self._update_metrics(slot)
        name = self.display_name(slot.served)
        self._metrics.unloads.labels(name).inc()
        logger.info("model unloaded", model=name, bytes=slot.nbytes)

    def _update_metrics(self, slot: _Slot) -> None:
        card = slot.served.card
        self._metrics.load_failures.labels(card.name)
        self._metrics.unloads.labels(card.name)
        self._metrics.loaded.labels(card.name, card.version).set(slot.loaded is not None)
        self._metrics.model_bytes.labels(self.display_name(slot.served)).set(slot.nbytes if slot.loaded else 0)


def _not_loaded(slot: _Slot, pause: float, error: Exception | None = None) -> ServiceError:
    """The error for a client; the cause is in the log."""
    if isinstance(error, NotReady) and error.detail == GOING_DOWN:
        return error
    seconds = math.ceil(pause)
    return NotReady(f"model {slot.served.card.name} cannot be loaded; it is tried again in {seconds} seconds", seconds)


def _fail(future: Future[Loaded], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def return_memory() -> None:
    """Return the memory of released models to the system now, not when it is next needed."""
    gc.collect()  # a model may be in a reference cycle
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
