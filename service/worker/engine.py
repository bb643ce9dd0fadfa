"""The worker's engine: three overlapped stages around one device.

    submit -> intake threads -> compute thread -> finish threads -> answer

    intake   header check, decode, plan; may wait for a thread; an image whose features are kept goes on to finish
    compute  owns the device; takes what waits, up to max_batch tiles of one bucket; waits only when nothing waits
    finish   text rows, scores, arg-max, RLE, overlay; may wait for a thread

A request counts against the queue limit from submit to answer: beyond it, submit refuses at once. Abandoned work
(client gone, deadline passed) is dropped before each stage. An error belongs to its request alone.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import structlog
import torch
from structlog.contextvars import bound_contextvars

from model.segmenter import InferenceOptions, Segmenter
from model.types import ClassEntry
from service.errors import ImageExpired, NotReady, QueueFull
from service.messages import WorkerAnswer, WorkerRequest
from service.metrics import Metrics
from service.settings import Settings
from service.tracing import StageTime, Tracing
from service.worker.decode import Decoded, decode
from service.worker.feature_cache import FeatureCache, FeatureKey, Remembered
from service.worker.finish import finish
from service.worker.job import Job
from service.worker.text_cache import open_text_cache


def image_id_of(image: bytes) -> str:
    """The name under which an image can be asked about again: 128 bits of its digest."""
    return hashlib.sha256(image).hexdigest()[:32]


logger = structlog.get_logger("lexiseg.engine")
COMPUTE_THREADS = torch.get_num_threads()
GOING_DOWN = "the worker is going down"


class Engine:
    """One model on one device, for many requests at once."""

    def __init__(
        self, segmenter: Segmenter, settings: Settings, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self.segmenter = segmenter
        self.text_cache = open_text_cache(segmenter, settings, metrics)
        self.feature_cache = FeatureCache(settings.feature_cache_bytes)
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing
        metrics.held("texts", lambda: self.text_cache.nbytes)
        metrics.held("features", lambda: self.feature_cache.nbytes)
        self._waiting: deque[Job] = deque()
        self._arrived = threading.Condition()
        self._open = True
        self._in_flight: set[Job] = set()
        self._seconds_per_answer = 0.1  # moving average, for Retry-After
        self._last_answer = time.monotonic()
        self._count_guard = threading.Lock()
        # Beside the compute thread, a stage's torch work stays on its own thread.
        self._intake = ThreadPoolExecutor(settings.intake_threads, "intake")
        self._finish = ThreadPoolExecutor(settings.finish_threads, "finish", lambda: torch.set_num_threads(1))
        self._compute = threading.Thread(target=self._compute_forever, name="compute", daemon=True)
        self._compute.start()

    @property
    def in_flight(self) -> int:
        """Requests accepted and not yet answered."""
        return len(self._in_flight)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What works less well than it should, without a change in the answers."""
        return ("text cache",) if self.text_cache.degraded else ()

    def warm_up(self) -> None:
        """One image pass of every bucket, and the background words: the first request shall not pay for them."""
        for height, width in self.segmenter.buckets:
            self.segmenter.encode_tiles(np.zeros((1, 3, height, width), np.uint8))
        words = tuple(ClassEntry(word) for word in self.segmenter.card.background.words) or (ClassEntry("warm-up"),)
        self.text_cache.rows(self.segmenter.texts(words))

    def submit(self, request: WorkerRequest) -> Future[WorkerAnswer]:
        """Accepts a request; cancelling the future abandons it.

        Raises:
            QueueFull: as many requests as the queue holds are in flight.
            NotReady: the engine is closing.
        """
        job = Job(request)
        with self._count_guard:
            if not self._open:
                raise NotReady(GOING_DOWN)
            if self.in_flight >= self._settings.queue_limit:
                wait = max(1, round(self.in_flight * self._seconds_per_answer))
                raise QueueFull(f"{self.in_flight} requests are in flight, which is the limit", wait)
            if not self._in_flight:  # idle time says nothing about the rate
                self._last_answer = time.monotonic()
            self._in_flight.add(job)
        self._metrics.in_flight.inc()
        job.answer.add_done_callback(lambda _: self._answered(job))
        self._intake.submit(self._guarded, job, self._take_in)
        return job.answer

    def close(self, seconds: float) -> None:
        """Refuses new requests, answers those in flight for at most `seconds`, then stops; the rest hear that."""
        with self._count_guard:
            self._open = False
        deadline = time.monotonic() + seconds
        while self._in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        for job in tuple(self._in_flight):
            job.fail(NotReady(GOING_DOWN))
        with self._arrived:
            self._arrived.notify_all()
        self._compute.join(timeout=5)
        self._intake.shutdown(wait=False, cancel_futures=True)
        self._finish.shutdown(wait=False, cancel_futures=True)
        self.text_cache.close()

    def _answered(self, job: Job) -> None:
        with self._count_guard:
            self._in_flight.discard(job)
            now = time.monotonic()
            elapsed, self._last_answer = now - self._last_answer, now
            self._seconds_per_answer += 0.1 * (elapsed - self._seconds_per_answer)
        self._metrics.in_flight.dec()
        if self._tracing is not None:
            self._tracing.stages(job.request.traceparent, tuple(job.stages))

    def _guarded(self, job: Job, stage: Callable[[Job], None]) -> None:
        """Runs one stage of one job; what it raises is that job's answer."""
        if job.abandoned:
            return
        with bound_contextvars(**job.who):  # for every line that this thread logs meanwhile
            try:
                stage(job)
            except Exception as error:
                job.fail(error)

    def _take_in(self, job: Job) -> None:
        began = time.monotonic()
        request = job.request
        job.image_id = request.image_id or image_id_of(request.image or b"")
        kept = self.feature_cache.find(self._feature_key(job))
        job.image = self._image_of(request, kept)
        if kept is None or request.overlay:
            decoded = self._decode(job)
            job.rgb = decoded.rgb if request.overlay else None
            if kept is None:  # an overlay alone needs the pixels and no image pass
                plan = self.segmenter.plan(decoded.rgb, InferenceOptions(request.max_side))
                job.plan = plan.of_size(decoded.size)
        job.planned = time.monotonic()
        job.decode_seconds = job.planned - began
        self._metrics.stage("decode", job.decode_seconds)
        job.stages.append(StageTime("decode", began, job.planned))
        if kept is not None:
            job.features, job.from_cache, job.computed = kept.features, True, job.planned
            self._finish.submit(self._guarded, job, self._finish_job)
            return
        with self._arrived:
            self._waiting.append(job)
            self._metrics.queue_depth.set(len(self._waiting))
            self._arrived.notify()

    def _feature_key(self, job: Job) -> FeatureKey:
        return FeatureKey(job.request.owner, job.image_id, self.segmenter.digest, job.request.max_side)

    def _image_of(self, request: WorkerRequest, kept: Remembered | None) -> bytes:
        """The encoded image: as sent, or as remembered under its id."""
        if request.image is not None:
            return request.image
        image = kept.image if kept else self.feature_cache.find_image(request.owner, request.image_id or "")
        if image is None:
            raise ImageExpired(f"image.id: nothing is kept of {(request.image_id or '')[:64]!r}; send the image again")
        return image

    def _decode(self, job: Job) -> Decoded:
        # An overlay is painted on every pixel; the network sees no more than this of the shorter side.
        shortest = None if job.request.overlay else 2 * self.segmenter.card.input.short_side
        return decode(job.image, self._settings.limits, shortest)

    def _compute_forever(self) -> None:
        # Of each new thread torch takes the number that was set last, by whichever thread.
        torch.set_num_threads(COMPUTE_THREADS)
        while True:
            with self._arrived:
                while not self._waiting:
                    if not self._open and not self._in_flight:
                        return
                    self._arrived.wait(timeout=1.0)
                batch = self._next_batch()
            if batch:
                self._encode_or_fail(batch)
            # The thread would otherwise keep the last batch's images alive while it waits.
            del batch

    def _encode_or_fail(self, batch: list[Job], may_split: bool = True) -> None:
        """Encodes a batch; one that does not fit the memory is tried again in two halves, once."""
        try:
            self._encode(batch)
            return
        except (torch.OutOfMemoryError, MemoryError):
            for job in batch:
                logger.warning("out of memory in the image pass", requests=len(batch), **job.who)
            failure: Exception = NotReady("the image pass ran out of memory; send a smaller image or max_side")
        except Exception as error:
            for job in batch:  # the trace once
                trace = error if job is batch[0] else None
                logger.error("image pass failed", requests=len(batch), exc_info=trace, **job.who)
            failure, may_split = error, False
        if may_split and len(batch) > 1:
            middle = len(batch) // 2
            self._encode_or_fail(batch[:middle], may_split=False)
            self._encode_or_fail(batch[middle:], may_split=False)
            return
        for job in batch:
            job.fail(failure)

    def _next_batch(self) -> list[Job]:
        """The oldest job and those of its bucket behind it, up to max_batch tiles."""
        batch: list[Job] = []
        others: list[Job] = []
        tiles = 0
        bucket: tuple[int, int] | None = None  # of the oldest
        while self._waiting:
            job = self._waiting.popleft()
            if job.abandoned:
                continue
            assert job.plan is not None
            n_tiles = len(job.plan.tiles)
            if bucket is None or (job.plan.bucket == bucket and tiles + n_tiles <= self._settings.max_batch):
                bucket = job.plan.bucket
                batch.append(job)
                tiles += n_tiles
            else:
                others.append(job)
            if tiles >= self._settings.max_batch:
                break
        self._waiting.extendleft(reversed(others))
        self._metrics.queue_depth.set(len(self._waiting))
        return batch

    def _encode(self, batch: list[Job]) -> None:
        began = time.monotonic()
        plans = [job.plan for job in batch if job.plan is not None]
        tile_features = self.segmenter.encode_tiles(np.concatenate([plan.tiles for plan in plans]))
        first = 0
        for job, plan in zip(batch, plans, strict=True):
            last = first + len(plan.tiles)
            job.features = self.segmenter.assemble(plan, tuple(part[first:last] for part in tile_features))
            self.feature_cache.keep(self._feature_key(job), Remembered(job.features, job.image))
            first = last
        ended = time.monotonic()
        self._metrics.batch_size.observe(first)
        self._metrics.stage("image", ended - began)
        for job in batch:
            self._metrics.stage("queue", began - job.planned)
            job.stages += (StageTime("queue", job.planned, began), StageTime("image", began, ended))
            job.computed, job.image_seconds = ended, ended - began
            self._finish.submit(self._guarded, job, self._finish_job)

    def _finish_job(self, job: Job) -> None:
        answer = finish(job, self.segmenter, self.text_cache)
        self._metrics.answered(answer)
        job.succeed(answer)
