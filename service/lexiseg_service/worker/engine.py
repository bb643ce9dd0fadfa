"""The worker's engine: overlapping stages around one device.

    accept -> decode -> compute -> texts -> finish -> answer

    accept   refuse at once a request without a place or that would miss its deadline; acquire the model
    decode   image id, header check, pixels, plan; an image with kept features skips compute
    compute  owns the device for all models: takes what waits, up to max_batch tiles of one model and bucket; on a CPU
             a tile a core
    texts    text rows that are not in memory, a chunk at a time
    finish   scores, arg-max, RLE, overlay, or another `render` of the job

Every stage is fair between clients, and small work does not wait for large. Work without a client or with a
passed deadline is dropped before each stage. An error fails only its own request.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, overload

import numpy as np

from lexiseg_model.export.exportable import Exportable
from lexiseg_model.masks import overlay
from lexiseg_model.pictures.reader import Picture, halved
from lexiseg_model.resources.device import choose_device
from lexiseg_model.segmenter import Segmenter, Words
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.bank import needed_texts
from lexiseg_model.vocabulary.languages import Languages
from lexiseg_service.errors import ImageExpired, NotReady, ServiceError
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.image.reader import decode, image_id_of
from lexiseg_service.question.backend import Exemplified, Taught
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompts import check_inside
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime, Tracing
from lexiseg_service.worker.compute import ComputeStage, use_one_core, warm_up_buckets
from lexiseg_service.worker.crash_record import CrashRecord
from lexiseg_service.worker.examples import check_regions, example_rows, lesson, rows_are_known
from lexiseg_service.worker.feature_cache import FeatureCache, Remembered
from lexiseg_service.worker.finish import FinishStage
from lexiseg_service.worker.finish import render as render_answer
from lexiseg_service.worker.job import Admission, AnyJob, Job, Render, T
from lexiseg_service.worker.models.pool import COMPUTE_THREADS, GOING_DOWN, Loaded, ModelPool, give_up
from lexiseg_service.worker.text_stage import TextStage
from lexiseg_service.worker.texts import TextCaches

# Decode and finish together, and one more for small work. Image passes use every core already: with more threads the
# event loop of a gateway on the same machine waits. More large images at a time would take gigabytes, too.
THREADS = min(5, max(1, COMPUTE_THREADS - 1))
BEHIND = 0.25  # of the deadline: work that waits so long for a finish thread makes the worker degraded


class Engine:
    """One device for many requests at once: of one model in memory, or of a pool's models."""

    def __init__(
        self,
        models: Segmenter | ModelPool,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing | None = None,
        crashes: CrashRecord | None = None,
    ) -> None:
        self.models = models if isinstance(models, ModelPool) else ModelPool.from_segmenter(models, metrics)
        self.text_caches = TextCaches(settings, metrics)
        self.feature_cache = FeatureCache(settings.feature_cache_bytes)
        self.languages = Languages()  # without dictionaries, until a worker loads them
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing
        self._crashes = crashes
        self._open = True
        self._in_flight: dict[int, AnyJob] = {}  # by id()
        self._guard = threading.Lock()
        self._admission = Admission(settings.queue_limit)
        # One executor for both, so that large images in one stage and in the other together leave a core to small ones.
        self._threads = FairExecutor("decode-post", THREADS, lambda: self._admission.has_small, use_one_core)
        on_cpu = choose_device(settings.device).type == "cpu"
        max_batch, passes = (1, COMPUTE_THREADS) if on_cpu else (settings.max_batch, 1)
        self._compute = ComputeStage(max_batch, passes, metrics, self._encoded)
        self._finishing = FinishStage(self._threads, self.feature_cache, metrics)
        self._reading = TextStage(self.text_caches, self._finishing.put)
        metrics.in_flight.set_function(lambda: self.in_flight)
        metrics.watch_cache("features", lambda: self.feature_cache.weight)
        self._report_waits("text", self._reading.executor)
        self._report_waits("decode-post", self._threads)

    # Accept

    @overload
    def submit(self, request: WorkerRequest) -> Future[WorkerAnswer]: ...

    @overload
    def submit(self, request: WorkerRequest, render: Render[T], after: Future[Any] | None = None) -> Future[T]: ...

    def submit(
        self, request: WorkerRequest, render: Render[Any] = render_answer, after: Future[Any] | None = None
    ) -> Future[Any]:
        """Accept a request, or refuse it at once; cancelling the future abandons it.

        `render`, the last stage, begins on a finish thread when `after` has ended.
        """
        job = Job(request, render, after)
        with self._guard:
            if not self._open:
                raise NotReady(GOING_DOWN)
            model = self.models.acquire(request.model)
            try:
                self._admission.admit(job, request.size or self._kept_size(request))
            except ServiceError:
                give_up(model)
                raise
            self._in_flight[id(job)] = job
        # By number: a future with a reference to its own job would keep the image until the next full collection.
        job.answer.add_done_callback(partial(self._on_answer, id(job), model))
        model.add_done_callback(partial(self._start, job, was_loaded=model.done()))
        return job.answer

    def exemplify(self, request: WorkerRequest) -> Future[Exemplified]:
        return self.submit(request, example_rows(self.text_caches, self._settings.limits))

    def teach(self, request: WorkerRequest) -> Future[Taught]:
        return self.submit(request, lesson)

    def _kept_size(self, request: WorkerRequest) -> tuple[int, int] | None:
        """Height and width of an image that was sent as an id; None if it is not kept."""
        if request.image is not None or not request.image_id:
            return None
        remembered = self.feature_cache.find_any(request.owner, request.image_id)
        return None if remembered is None else remembered.features.size

    def _start(self, job: AnyJob, model: Future[Loaded], *, was_loaded: bool) -> None:
        if model.cancelled():
            return
        if not was_loaded:
            job.stages.append(StageTime("load", job.accepted, time.monotonic()))
        if (error := model.exception()) is not None:
            job.fail(error)
            return
        job.loaded = loaded = model.result()
        job.answer.add_done_callback(lambda _: loaded.release())  # at once, if it is answered already
        if not job.abandoned:
            decode = partial(job.run, partial(self._decode, time.monotonic()))
            self._threads.submit(
                job.source, decode, large=job.large, background=job.request.background, begins=job.answer
            )

    def _on_answer(self, number: int, model: Future[Loaded], _: Future[Any]) -> None:
        model.cancel()
        with self._guard:
            job = self._in_flight.pop(number)
            self._admission.leave(job)
        if self._tracing is not None:
            self._tracing.stages(job.request.traceparent, tuple(job.stages))

    # Decode

    def _decode(self, since: float, job: AnyJob) -> None:
        """Decode the image of a job that waits since a time, or find its features."""
        with self._guard:
            self._admission.check_wait(job, since)
        began = time.monotonic()
        request = job.request
        job.image_id = request.image_id or (image_id_of(request.image or b"") if request.remember else "")
        if request.regions and request.region_classes is None and rows_are_known(self.text_caches, job):
            job.planned = job.computed = time.monotonic()
            self._finishing.put(job)
            return
        remembered = self.feature_cache.get(self.feature_cache.key_of(job)) if request.remember else None
        job.image = self._image_of(request, remembered)
        if remembered is None:
            decoded = self._pixels(job)
            self._check(request, decoded.size)
            job.notes = decoded.notes
            plan = job.loaded.segmenter.plan(decoded.rgb, job.options)
            job.plan = plan.of_size(decoded.size)
        else:
            self._check(request, remembered.features.size)
            if request.overlay:
                self._pixels(job)
        job.planned = time.monotonic()
        self._metrics.stage("decode", job.planned - began)
        job.stages.append(StageTime("decode", began, job.planned))
        self._look_up_texts(job)
        if remembered is None:
            self._compute.put(job)
        else:
            job.features, job.from_cache, job.computed = remembered.features, True, job.planned
            job.notes = remembered.notes
            self._to_texts(job)

    def _check(self, request: WorkerRequest, size: tuple[int, int]) -> None:
        """Check what the gateway could not check without the size of the image, or does not check of frames."""
        if request.prompts and (request.header is None or not request.remember):
            check_inside(request.prompts, size, of_frame=bool(request.flow))
        if request.regions:
            check_regions(request.regions, size)

    def _image_of(self, request: WorkerRequest, remembered: Remembered | None) -> bytes:
        if request.image is not None:
            return request.image
        source = remembered or self.feature_cache.find_any(request.owner, request.image_id or "")
        if source is None:
            raise ImageExpired(f"image.id: nothing is kept of {(request.image_id or '')[:64]!r}; send the image again")
        return source.image

    def _pixels(self, job: AnyJob) -> Picture:
        """Decode the image; also keep a picture for the overlay, if one is wanted."""
        short_side = 2 * job.loaded.segmenter.card.input.short_side  # the network uses no more detail
        # A frame is no file that comes again: a stream that crashes its workers ends (`fleet.failover`).
        crashes = self._crashes if job.request.remember else None
        with nullcontext() if crashes is None else crashes.decoding(job.image_id):
            whole = None if job.request.overlay else short_side  # an overlay shows every pixel
            decoded = decode(job.image, self._settings.limits, whole, job.request.header)
        self._metrics.decodes.labels("cpu").inc()
        if job.request.overlay:
            job.rgb = overlay.fitted(decoded.rgb)
            decoded = replace(decoded, rgb=halved(decoded.rgb, short_side))
        return decoded

    def _look_up_texts(self, job: AnyJob) -> None:
        if not job.request.vocabulary.classes:
            return
        segmenter, vocabulary = job.loaded.segmenter, job.request.vocabulary
        if self.languages.codes or job.request.language:
            read = partial(self.languages.read, language=job.request.language)
            vocabulary = segmenter.readable(vocabulary, read)
        job.request = replace(job.request, vocabulary=segmenter.explained(vocabulary))
        texts = needed_texts(segmenter, job.request.vocabulary)
        job.lookup = self.text_caches.cache_of(segmenter).find(texts, job.request.owner)

    # Compute, texts, finish

    def _encoded(self, job: AnyJob) -> None:
        """The compute stage has made the job's features."""
        assert job.features is not None
        if job.request.remember:
            entry = Remembered(job.features, job.image, job.notes)
            job.features = self.feature_cache.add(self.feature_cache.key_of(job), entry).features
        self._to_texts(job)

    def _to_texts(self, job: AnyJob) -> None:
        if job.lookup.missing:
            self._reading.put(job)
        else:
            self._finishing.put(job)

    # Warm-up, shutdown, state

    def warm_up(self, name: str | None = None) -> None:
        """Load a model (None: the default one), run image passes and encode the background words: no request pays."""
        model = self.models.acquire(name or self.models.cards[0].name).result()
        try:
            self.prepare(model.segmenter)
        finally:
            model.release()

    def prepare(self, segmenter: Segmenter) -> None:
        """Warm up a model in memory, whether it is served yet or not."""
        if isinstance(segmenter, Exportable):
            segmenter.open_parts()
        for height, width in warm_up_buckets(segmenter):
            tile = np.zeros((1, 3, height, width), np.uint8)
            # On a compute thread, between batches: nothing else uses the device then.
            self._compute.run(partial(segmenter.encode_tiles, tile)).result()
        if not isinstance(segmenter, Words):
            return
        words = tuple(ClassEntry(word) for word in segmenter.card.background.words) or (ClassEntry("warm-up"),)
        self.text_caches.cache_of(segmenter).rows(segmenter.texts(words))

    def close(self, seconds: float) -> None:
        """Refuse new requests, answer the ones in flight for at most `seconds`, fail the rest, and stop."""
        with self._guard:
            self._open = False
        deadline = time.monotonic() + seconds
        while self._in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        for job in tuple(self._in_flight.values()):
            job.fail(NotReady(GOING_DOWN))
        self.models.close()
        self._compute.close(5)
        self._threads.close()
        self._reading.executor.close()
        self.text_caches.close()

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def degraded(self) -> tuple[str, ...]:
        """Degraded parts, such as a model that cannot be loaded; answers stay right."""
        texts = ("text cache",) if self.text_caches.degraded else ()
        behind = max(self._threads.waits, default=0.0) > BEHIND * self._settings.deadline_seconds
        queue = ("finish queue",) if behind else ()
        return (*texts, *queue, *(f"model {name}" for name in self.models.failures))

    def _report_waits(self, stage: str, threads: FairExecutor) -> None:
        self._metrics.waiting.labels(stage).set_function(lambda: len(threads.waits))
        self._metrics.longest_wait.labels(stage).set_function(lambda: max(threads.waits, default=0.0))
