"""The worker's engine: three overlapped stages around one device.

    submit -> model -> intake threads -> compute threads -> (text threads) -> finish threads -> answer

    model    held from here to the answer; one that is not loaded is waited for, which holds up no thread
    intake   header check, decode, plan; may wait for a thread; an image whose features are kept goes on to finish, at
             once where the question is short
    compute  owns the device for all models; takes what waits, up to max_batch tiles of one model and one bucket, the
             sources in turn; waits only when nothing waits. On a CPU each core may take images of its own
    texts    rows that are not in memory, a chunk at a time
    finish   scores, arg-max, RLE, overlay, or whatever the job's `render` does; may wait for a thread of its model's,
             and, without one, for whoever asked first about the same image. What takes a moment, of who asks alone
             about an image that is known for such questions, is answered before submit returns

In every stage the sources (clients, by key or address) share the threads, and small work does not wait for large.

A request has a place from submit to answer: when there is none for its source, or when it would not be answered in
time, submit refuses at once. Abandoned work (client gone, deadline passed) is dropped before each stage. An error
belongs to its request alone.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, overload

import cv2
import numpy as np
import torch
from structlog.contextvars import bound_contextvars

from lexiseg_model.bank import needed_texts
from lexiseg_model.device import choose_device
from lexiseg_model.features import InferenceOptions
from lexiseg_model.kernel.aside import aside
from lexiseg_model.masks import overlay
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry
from lexiseg_service.errors import ImageExpired, NotReady, ServiceError
from lexiseg_service.image.id import HASHED_AT_ONCE, image_id_of
from lexiseg_service.question.messages import Exemplified, WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompt_bounds import check_inside
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime, Tracing
from lexiseg_service.worker.admission import Admission
from lexiseg_service.worker.compute.passes import to_warm_up
from lexiseg_service.worker.compute.stage import ComputeStage
from lexiseg_service.worker.costs.costs import Costs
from lexiseg_service.worker.costs.forecast import Forecast
from lexiseg_service.worker.costs.trial import Trial, try_out
from lexiseg_service.worker.decode import Decoded, decode, shortest_of
from lexiseg_service.worker.examples.rows import are_known, check_regions, rows_of_regions
from lexiseg_service.worker.feature_cache import FeatureCache, FeatureKey, Remembered
from lexiseg_service.worker.finish.at_once import AtOnce
from lexiseg_service.worker.finish.first_askers import FirstAskers
from lexiseg_service.worker.finish.render import finish
from lexiseg_service.worker.job import AnyJob, Render, T
from lexiseg_service.worker.models.loaded import Loaded, give_up
from lexiseg_service.worker.models.pool import GOING_DOWN, ModelPool
from lexiseg_service.worker.reading import ReadingStage
from lexiseg_service.worker.texts.cache import TextCaches
from lexiseg_service.worker.threads.fair import FairThreads
from lexiseg_service.worker.waiting_pictures import WaitingPictures

BEHIND = 0.25  # of the deadline: work that has waited so long for a finish thread is worth telling


class Engine:
    """One device, for many requests at once: of one model that is there, or of a pool's models."""

    def __init__(
        self, models: Segmenter | ModelPool, settings: Settings, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self.models = models if isinstance(models, ModelPool) else ModelPool.of(models, metrics)
        self.costs = Costs()
        self.text_caches = TextCaches(settings, metrics, self.costs.learn)
        self.feature_cache = FeatureCache(settings.feature_cache_bytes)
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing
        metrics.held("texts", lambda: self.text_caches.nbytes)
        metrics.held("features", lambda: self.feature_cache.nbytes)
        self._pictures = WaitingPictures(metrics)
        self._open = True
        self._in_flight: set[AnyJob] = set()
        self._forecast = Forecast(self.costs)
        self._admission = Admission(settings, self.text_caches, self.costs, self._forecast, self.feature_cache)
        self._count_guard = threading.Lock()
        # OpenCV's own threads wait by spinning; beside others they take more time of the processor than they save.
        self._intake = FairThreads("intake", settings.intake_threads, partial(cv2.setNumThreads, 1))
        self._first_askers = FirstAskers()
        self._at_once = AtOnce(self._first_askers)
        self._finish: dict[str, FairThreads] = {}  # by model: one's long class lists hold up no other's
        gains = choose_device(settings.device).type != "cpu"
        self._compute = ComputeStage(settings.max_batch, metrics, self._encoded, self.costs.encoded, gains)
        self._reading = ReadingStage(self._forecast, self._guarded, self._to_finish, self.costs.least)
        self._show("decode", lambda: (self._intake,))
        self._show("text", lambda: self._reading.threads)
        self._show("post", lambda: tuple(self._finish.values()))

    @property
    def in_flight(self) -> int:
        """Requests accepted and not yet answered."""
        return len(self._in_flight)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What works less well than it should: without a change in the answers, or for some models."""
        texts = ("text cache",) if self.text_caches.degraded else ()
        behind = max((threads.longest_wait for threads in tuple(self._finish.values())), default=0.0)
        finish = ("finish queue",) if behind > BEHIND * self._settings.deadline_seconds else ()
        return (*texts, *finish, *(f"model {name}" for name in self.models.failures))

    def warm_up(self, name: str | None = None) -> None:
        """An image pass of some or all buckets, and the background words: the first request shall not pay for them.

        What the model takes here is tried, too: the first burst shall hear when it would be answered.

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
        cache = self.text_caches.of(segmenter)
        cache.rows(segmenter.texts(words))
        trial = Trial(segmenter, self._compute.run, words, lambda texts: cache.rows(texts).rows)
        try_out(trial, self.costs)

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
            QueueFull: its source has no place in the queue, it would not be answered before its deadline, or as many
                requests as may do so wait for models to be loaded.
            TooLarge: it would not be answered before its deadline if there were nobody else.
            UnknownModel: the model is not served here.
            NotReady: the model could not be loaded a moment ago, or the engine is closing.
        """
        job = AnyJob(request, render)
        with self._count_guard:
            if not self._open:
                raise NotReady(GOING_DOWN)
            model = self.models.acquire(request.model)
            try:
                self._admission.admit(job, model.result().segmenter if model.done() else None)
            except ServiceError:
                give_up(model)
                raise
            job.alone = request.alone and not self._in_flight
            self._in_flight.add(job)
        self._metrics.in_flight.inc()
        # By weak references: a finished future keeps its callbacks, and a job with its image, features and answer would
        # live in a circle with its own future until the next full collection.
        of_job, of_model = weakref.ref(job), weakref.ref(model)  # held by what is in flight, and by whoever loads
        job.answer.add_done_callback(lambda _: self._answered(of_job(), of_model()))
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
        for job in tuple(self._in_flight):
            job.fail(NotReady(GOING_DOWN))
        self.models.close()
        self._compute.close(5)
        for threads in (self._intake, *self._reading.threads, *self._finish.values()):
            threads.close()
        self.text_caches.close()

    def _show(self, stage: str, threads: Callable[[], tuple[FairThreads, ...]]) -> None:
        """Work that waits for the threads of a stage, in the metrics."""
        self._metrics.waiting(
            stage,
            lambda: sum(each.waiting for each in threads()),
            lambda: max((each.longest_wait for each in threads()), default=0.0),
        )

    def _after_load(self, job: AnyJob, model: Future[Loaded]) -> None:
        job.alone = False  # this is not the thread of who asked
        job.stages.append(StageTime("load", job.accepted, time.monotonic()))
        self._forecast.enter(job.expected)
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
        if job.abandoned:
            return
        remembered = self._at_hand(job)
        if remembered is not None:  # what is left of the intake takes less than a thread for it
            self._guarded(job, partial(self._take_in, remembered=remembered))
        else:
            job.alone = False  # it goes on from another thread, as after the texts
            self._intake.submit(job.source, partial(self._guarded, job, self._take_in), large=job.size.large_image)

    def _at_hand(self, job: AnyJob) -> Remembered | None:
        """What is remembered of a job's image, if that is soon known and all that its intake would need."""
        request = job.request
        if not job.soon_taken_in or len(request.image or b"") > HASHED_AT_ONCE:
            return None
        job.image_id = request.image_id or image_id_of(request.image or b"")
        return self.feature_cache.find(self._feature_key(job))

    def _answered(self, job: AnyJob | None, model: Future[Loaded] | None) -> None:
        assert job is not None  # in flight until here
        if model is not None:
            model.cancel()  # nobody waits for it any more
        with self._count_guard:
            self._in_flight.discard(job)
            self._admission.leave(job)
        self._pictures.leave(job)
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

    def _take_in(self, job: AnyJob, remembered: Remembered | None = None) -> None:
        began = time.monotonic()
        request = job.request
        job.image_id = job.image_id or request.image_id or aside(image_id_of, request.image or b"")
        if request.regions and are_known(self.text_caches, job):
            job.planned = job.computed = time.monotonic()
            self._forecast.shrinks(job.expected, job.size.of_known_image())
            self._to_finish(job)
            return
        if remembered is None and request.remember:
            remembered = self.feature_cache.find(self._feature_key(job))
        job.image = self._image_of(request, remembered)
        if remembered is not None:
            check_inside(request.prompts, remembered.features.size)
            check_regions(request.regions, remembered.features.size)
        if remembered is None or request.overlay:
            decoded = self._decode(job)
            self._pictures.keep(job, decoded.rgb)
            if remembered is None:  # an overlay alone needs the pixels and no image pass
                check_inside(request.prompts, decoded.size)
                check_regions(request.regions, decoded.size)
                plan = job.loaded.segmenter.plan(decoded.rgb, InferenceOptions(request.max_side))
                job.plan = plan.of_size(decoded.size)
        job.planned = time.monotonic()
        job.decode_seconds = job.planned - began
        self._metrics.stage("decode", job.decode_seconds)
        texts = [] if request.regions else needed_texts(job.loaded.segmenter, request.vocabulary)
        if self.text_caches.of(job.loaded.segmenter).is_known(texts) < len(texts):
            job.texts = texts
        job.stages.append(StageTime("decode", began, job.planned))
        if remembered is None:
            self._admission.check_tiles(job)
        else:
            job.features, job.from_cache, job.computed = remembered.features, True, job.planned
            self._forecast.shrinks(job.expected, job.size.of_known_image())
            self._to_texts(job)
            return
        self._compute.put(job)

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

    def _encoded(self, job: AnyJob) -> None:
        assert job.features is not None
        if job.request.remember:
            remembered = self.feature_cache.keep(self._feature_key(job), Remembered(job.features, job.image))
            job.features = remembered.features
        self._to_texts(job)

    def _to_texts(self, job: AnyJob) -> None:
        if job.texts:
            job.alone = False
            self._reading.put(job, self.text_caches.of(job.loaded.segmenter))
        else:
            self._to_finish(job)

    def _to_finish(self, job: AnyJob) -> None:
        if self._at_once.may(job):
            self._finish_job(job)
        elif self._first_askers.enter(job):
            self._give_thread(job)

    def _give_thread(self, job: AnyJob) -> None:
        work = partial(self._through_finish, job)
        self._finish_threads(job).submit(job.source, work, large=job.size.large)

    def _finish_threads(self, job: AnyJob) -> FairThreads:
        name = job.loaded.segmenter.card.name
        with self._count_guard:
            if name not in self._finish:
                # Beside the compute threads, a stage's torch work stays on its own thread.
                one_thread_each = partial(torch.set_num_threads, 1)
                self._finish[name] = FairThreads("finish", self._settings.finish_threads, one_thread_each)
            return self._finish[name]

    def _through_finish(self, job: AnyJob) -> None:
        try:
            self._guarded(job, self._finish_job)
        finally:
            for freed in self._first_askers.leave(job):
                self._give_thread(freed)

    def _render(self, job: AnyJob, segmenter: Segmenter) -> Any:
        cache = self.text_caches.of(segmenter)
        if segmenter.passes_side_by_side:  # what it computes is in the kernel, which is aside already
            return job.render(job, segmenter, cache)
        return aside(job.render, job, segmenter, cache)

    def _finish_job(self, job: AnyJob) -> None:
        began = time.monotonic()
        segmenter = job.loaded.segmenter
        if job.request.overlay and job.rgb is None:  # there was no room for it
            job.rgb = overlay.fitted(self._decode(job).rgb)
        try:
            answer = self._render(job, segmenter)
        finally:
            if job.request.remember:  # what was derived from the features stays with them, also after an error
                self.feature_cache.weigh(self._feature_key(job))
        ended = time.monotonic()
        job.stages.append(StageTime("post", began, ended))
        post = ended - began - job.text_seconds
        text = job.reading_seconds + job.text_seconds
        self.costs.finished(segmenter.digest, job.size, post)
        self._metrics.answered(text, post, ended - job.accepted, from_cache=job.from_cache)
        self._metrics.answered_by(segmenter.card.name, segmenter.card.version)
        job.succeed(answer)
