"""The worker's engine: overlapping stages around one device.

    accept -> decode -> compute -> texts -> finish -> answer

    accept   refuses at once what has no place or would be answered too late; holds the model, which may have to load
    decode   image id, header check, pixels, plan; an image whose features are kept skips compute
    compute  owns the device for all models: takes what waits, up to max_batch tiles of one model and one bucket
    texts    rows of the text tower that are not in memory, a chunk at a time
    finish   scores, arg-max, run lengths, overlay, or whatever the job's `render` does

Clients share the threads of every stage, and small work does not wait for large. Work whose client has gone or whose
deadline has passed is dropped before each stage. An error belongs to its request alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, overload

import cv2
import numpy as np
import torch
from structlog.contextvars import bound_contextvars

from lexiseg_model.device import choose_device
from lexiseg_model.features import InferenceOptions
from lexiseg_model.masks import overlay
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.bank import needed_texts
from lexiseg_service.errors import ImageExpired, NotReady, ServiceError
from lexiseg_service.image.id import image_id_of
from lexiseg_service.question.messages import Exemplified, WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompt_bounds import check_inside
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime, Tracing
from lexiseg_service.worker.admission import Admission
from lexiseg_service.worker.compute.passes import to_warm_up
from lexiseg_service.worker.compute.stage import ComputeStage
from lexiseg_service.worker.decode import Decoded, decode, shortest_of
from lexiseg_service.worker.examples.rows import are_known, check_regions, rows_of_regions
from lexiseg_service.worker.executor import FairExecutor
from lexiseg_service.worker.feature_cache import FeatureCache, FeatureKey, Remembered
from lexiseg_service.worker.finish.render import finish
from lexiseg_service.worker.job import AnyJob, Render, T
from lexiseg_service.worker.models.loaded import Loaded, give_up
from lexiseg_service.worker.models.pool import GOING_DOWN, ModelPool
from lexiseg_service.worker.reading import ReadingStage
from lexiseg_service.worker.single_flight import SingleFlight
from lexiseg_service.worker.texts.cache import TextCaches

# Each stage has one thread more for small work.
DECODE_THREADS, FINISH_THREADS = 2, 2
BEHIND = 0.25  # of the deadline: work that has waited so long for a finish thread makes the worker degraded


class Engine:
    """One device, for many requests at once: of one model that is there, or of a pool's models."""

    def __init__(
        self, models: Segmenter | ModelPool, settings: Settings, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self.models = models if isinstance(models, ModelPool) else ModelPool.of(models, metrics)
        self.text_caches = TextCaches(settings, metrics)
        self.feature_cache = FeatureCache(settings.feature_cache_bytes)
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing
        metrics.held("texts", lambda: self.text_caches.nbytes)
        metrics.held("features", lambda: self.feature_cache.nbytes)
        self._open = True
        self._in_flight: dict[int, AnyJob] = {}  # by id()
        self._admission = Admission(settings.queue_limit, settings.limits)
        self._count_guard = threading.Lock()
        # The libraries' own threads would wait for each other beside those of the stages.
        self._decoding = FairExecutor("decode", DECODE_THREADS, partial(cv2.setNumThreads, 1))
        gains = choose_device(settings.device).type != "cpu"
        self._compute = ComputeStage(settings.max_batch, metrics, self._encoded, gains)
        self._reading = ReadingStage(self._guarded, self._to_finish)
        self._finishing = FairExecutor("finish", FINISH_THREADS, partial(torch.set_num_threads, 1))
        self._flights = SingleFlight()
        self._show("decode", lambda: (self._decoding,))
        self._show("text", lambda: self._reading.executors)
        self._show("post", lambda: (self._finishing,))

    @property
    def in_flight(self) -> int:
        """Requests accepted and not yet answered."""
        return len(self._in_flight)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What works less well than it should: without a change in the answers, or for some models."""
        texts = ("text cache",) if self.text_caches.degraded else ()
        behind = self._finishing.longest_wait > BEHIND * self._settings.deadline_seconds
        finish = ("finish queue",) if behind else ()
        return (*texts, *finish, *(f"model {name}" for name in self.models.failures))

    def warm_up(self, name: str | None = None) -> None:
        """An image pass of some or all buckets, and the background words: the first request shall not pay for them.

        Args:
            name: of the model, which is loaded if need be; the default model's if None.

        Raises:
            ServiceError: it cannot be loaded, or the engine is closing.
        """
        model = self.models.acquire(name or self.models.cards[0].name).result()
        try:
            self.prepare(model.segmenter)
        finally:
            model.release()

    def prepare(self, segmenter: Segmenter) -> None:
        """`warm_up` of a model in memory, whether it is served yet or not."""
        for height, width in to_warm_up(segmenter):
            tile = np.zeros((1, 3, height, width), np.uint8)
            # On a compute thread, in between batches: it alone uses the device then.
            self._compute.run(partial(segmenter.encode_tiles, tile)).result()
        words = tuple(ClassEntry(word) for word in segmenter.card.background.words) or (ClassEntry("warm-up"),)
        self.text_caches.of(segmenter).rows(segmenter.texts(words))

    @overload
    def submit(self, request: WorkerRequest) -> Future[WorkerAnswer]: ...

    @overload
    def submit(self, request: WorkerRequest, render: Render[T]) -> Future[T]: ...

    def submit(self, request: WorkerRequest, render: Render[Any] = finish) -> Future[Any]:
        """Accepts a request; cancelling the future abandons it.

        Args:
            request: an image and a question about it.
            render: the last stage, from a job whose features are there to what the future gets; it runs on a finish
                thread.

        Raises:
            QueueFull: its client has no place in the queue, it would not be answered before its deadline, or as many
                requests as may do so wait for models to be loaded.
            UnknownModel: the model is not served here.
            NotReady: the model could not be loaded a moment ago, or the engine is closing.
        """
        job = AnyJob(request, render)
        with self._count_guard:
            if not self._open:
                raise NotReady(GOING_DOWN)
            model = self.models.acquire(request.model)
            try:
                self._admission.admit(job, self._known_size(request))
            except ServiceError:
                give_up(model)
                raise
            self._in_flight[id(job)] = job
        self._metrics.in_flight.inc()
        # By number: a future that held its own job would keep its image and features until a full collection.
        job.answer.add_done_callback(partial(self._answered, id(job), model))
        if model.done():
            self._with_model(job, model)
        else:
            model.add_done_callback(partial(self._after_load, job))
        return job.answer

    def exemplify(self, request: WorkerRequest) -> Future[Exemplified]:
        """As `submit`: the rows of the regions of a request, instead of an answer to its question."""
        return self.submit(request, rows_of_regions(self.text_caches, self._settings.limits))

    def close(self, seconds: float) -> None:
        """Refuses new requests, answers those in flight for at most `seconds`, then stops; the rest hear that."""
        with self._count_guard:
            self._open = False
        deadline = time.monotonic() + seconds
        while self._in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        for job in tuple(self._in_flight.values()):
            job.fail(NotReady(GOING_DOWN))
        self.models.close()
        self._compute.close(5)
        for executor in (self._decoding, *self._reading.executors, self._finishing):
            executor.close()
        self.text_caches.close()

    def _show(self, stage: str, executors: Callable[[], tuple[FairExecutor, ...]]) -> None:
        """Work that waits for the threads of a stage, in the metrics."""
        self._metrics.waiting(
            stage,
            lambda: sum(each.waiting for each in executors()),
            lambda: max((each.longest_wait for each in executors()), default=0.0),
        )

    # Accept

    def _known_size(self, request: WorkerRequest) -> tuple[int, int] | None:
        """Height and width of an image of which only the id was sent; None where it is not kept."""
        if request.image is not None or not request.image_id:
            return None
        kept = self.feature_cache.find_any(request.owner, request.image_id)
        return None if kept is None else kept.features.size

    def _after_load(self, job: AnyJob, model: Future[Loaded]) -> None:
        job.stages.append(StageTime("load", job.accepted, time.monotonic()))
        self._with_model(job, model)

    def _with_model(self, job: AnyJob, model: Future[Loaded]) -> None:
        """The job's model is there, or will not be."""
        if model.cancelled():
            return
        if (error := model.exception()) is not None:
            job.fail(error)
            return
        job.model = loaded = model.result()
        job.answer.add_done_callback(lambda _: loaded.release())  # at once, if nobody waits any more
        if not job.abandoned:
            self._decoding.submit(job.source, partial(self._guarded, job, self._take_in), large=job.large_image)

    def _answered(self, number: int, model: Future[Loaded], _: Future[Any]) -> None:
        model.cancel()  # nobody waits for it any more
        with self._count_guard:
            job = self._in_flight.pop(number)
            self._admission.leave(job)
        self._metrics.in_flight.dec()
        if self._tracing is not None:
            self._tracing.stages(job.request.traceparent, tuple(job.stages))

    def _guarded(self, job: AnyJob, stage: Callable[[AnyJob], None]) -> None:
        """Runs one stage of one job; what it raises is that job's answer."""
        # Held once more: the client may go in the middle, and the model with it.
        with job.loaded.held(), bound_contextvars(**job.who):  # for every line that this thread logs meanwhile
            if job.abandoned:
                return
            try:
                stage(job)
            except Exception as error:
                job.fail(error)

    # Decode

    def _take_in(self, job: AnyJob) -> None:
        began = time.monotonic()
        request = job.request
        job.image_id = request.image_id or image_id_of(request.image or b"")
        if request.regions and are_known(self.text_caches, job):
            job.planned = job.computed = time.monotonic()
            self._to_finish(job)
            return
        remembered = self.feature_cache.find(self._feature_key(job)) if request.remember else None
        job.image = self._image_of(request, remembered)
        if remembered is None:
            self._plan(job)
        else:
            check_inside(request.prompts, remembered.features.size)
            check_regions(request.regions, remembered.features.size)
            if request.overlay:
                job.rgb = overlay.fitted(self._decode(job).rgb)
        job.planned = time.monotonic()
        job.decode_seconds = job.planned - began
        self._metrics.stage("decode", job.decode_seconds)
        job.stages.append(StageTime("decode", began, job.planned))
        texts = [] if request.regions else needed_texts(job.loaded.segmenter, request.vocabulary)
        if self.text_caches.of(job.loaded.segmenter).is_known(texts) < len(texts):
            job.texts = texts
        if remembered is None:
            self._compute.put(job)
        else:
            job.features, job.from_cache, job.computed = remembered.features, True, job.planned
            self._to_texts(job)

    def _plan(self, job: AnyJob) -> None:
        """Pixels, and the tiles to encode."""
        request = job.request
        decoded = self._decode(job)
        check_inside(request.prompts, decoded.size)
        check_regions(request.regions, decoded.size)
        if request.overlay:
            job.rgb = overlay.fitted(decoded.rgb)
        plan = job.loaded.segmenter.plan(decoded.rgb, InferenceOptions(request.max_side))
        job.plan = plan.of_size(decoded.size)

    def _feature_key(self, job: AnyJob) -> FeatureKey:
        return FeatureKey(job.request.owner, job.image_id, job.loaded.segmenter.digest, job.request.max_side)

    def _image_of(self, request: WorkerRequest, remembered: Remembered | None) -> bytes:
        """The encoded image: as sent, or as remembered under its id."""
        if request.image is not None:
            return request.image
        image = remembered.image if remembered else self.feature_cache.find_image(request.owner, request.image_id or "")
        if image is None:
            raise ImageExpired(f"image.id: nothing is kept of {(request.image_id or '')[:64]!r}; send the image again")
        return image

    def _decode(self, job: AnyJob) -> Decoded:
        # An overlay is painted on every pixel; the network sees no more than this of the shorter side.
        shortest = None if job.request.overlay else shortest_of(job.loaded.segmenter.card)
        decoded = decode(job.image, self._settings.limits, shortest)
        self._metrics.decodes.labels("cpu").inc()
        return decoded

    # Compute, texts

    def _encoded(self, job: AnyJob) -> None:
        assert job.features is not None
        if job.request.remember:
            remembered = self.feature_cache.keep(self._feature_key(job), Remembered(job.features, job.image))
            job.features = remembered.features
        self._to_texts(job)

    def _to_texts(self, job: AnyJob) -> None:
        if job.texts:
            self._reading.put(job, self.text_caches.of(job.loaded.segmenter))
        else:
            self._to_finish(job)

    # Finish

    def _to_finish(self, job: AnyJob) -> None:
        flight = _flight_of(job)
        go = partial(self._submit_finish, job, flight)
        if flight is None:
            go()
        else:
            self._flights.join(flight, go)

    def _submit_finish(self, job: AnyJob, flight: tuple[int, str] | None) -> None:
        self._finishing.submit(job.source, partial(self._through_finish, job, flight), large=job.large)

    def _through_finish(self, job: AnyJob, flight: tuple[int, str] | None) -> None:
        self._guarded(job, self._finish_job)
        if flight is not None:
            assert job.features is not None
            made = job.answer.done() and not job.answer.cancelled() and job.answer.exception() is None
            if made:
                job.features.derived.answered.add(flight[1])
            self._flights.leave(flight, made=made)

    def _finish_job(self, job: AnyJob) -> None:
        began = time.monotonic()
        segmenter = job.loaded.segmenter
        try:
            answer = job.render(job, segmenter, self.text_caches.of(segmenter))
        finally:
            if job.request.remember:  # what was derived from the features stays with them, also after an error
                self.feature_cache.weigh(self._feature_key(job))
        ended = time.monotonic()
        job.stages.append(StageTime("post", began, ended))
        text = job.reading_seconds + job.text_seconds
        post = ended - began - job.text_seconds
        self._metrics.answered(text, post, ended - job.accepted, from_cache=job.from_cache)
        self._metrics.answered_by(segmenter.card.name, segmenter.card.version)
        job.succeed(answer)


def _flight_of(job: AnyJob) -> tuple[int, str] | None:
    """What the first question of its kind about an image derives from its features, and others need, too.

    None where there is nothing of the kind, or where it is there already.
    """
    card = job.loaded.segmenter.card
    if job.features is None or not ("prompt" in card.tasks or card.panoptic.source == "proposals"):
        return None
    derived = job.features.derived
    task = "prompt" if job.request.regions else job.request.task
    return None if task in derived.answered else (id(derived), task)
