"""The compute stage: a fair queue, and the threads that own the device, for all models.

A batch begins with the job that is next in the fair queue, with a tile as unit; the queue fills it with jobs of the
same model and bucket. A job with more tiles than fit keeps its place. Between two batches a thread runs other work for
the device, such as a warm-up. A GPU has one thread. A CPU gains nothing from batches: it has one thread for each core;
their passes of one tile each use the cores that others leave idle between two operators.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import cv2
import numpy as np
import structlog
import torch

from lexiseg_model.features import TileFeatures
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import NotReady
from lexiseg_service.fair_queue import FairQueue, complete
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.models.pool import COMPUTE_THREADS, GOING_DOWN

logger = structlog.get_logger("lexiseg.engine")
Work = Callable[[], object]


class Portion(NamedTuple):
    """Some tiles of a job, from `first` to before `last`; a job's portions come in order."""

    job: AnyJob
    first: int
    last: int


Batch = list[Portion]


def next_batch(queue: FairQueue[AnyJob], max_tiles: int) -> Batch:
    """Take 1 to `max_tiles` tiles from the queue, all of one key; none when it is empty."""
    batch: Batch = []
    starter = queue.next()
    job = starter
    while job is not None and starter is not None:
        first = job.tiles_taken
        job.tiles_taken = last = min(job.n_tiles, first + max_tiles)
        batch.append(Portion(job, first, last))
        max_tiles -= last - first
        if last == job.n_tiles:
            queue.take(job, last - first)
        else:
            queue.serve(job, last - first)
        job = queue.next(lambda other: other.key == starter.key) if max_tiles else None
    return batch


class ComputeStage:
    """Encodes planned jobs and passes each, with its features, to `encoded`, on a compute thread.

    A batch has up to `max_batch` tiles; `threads` batches run at a time, of models with passes that overlap.
    """

    def __init__(self, max_batch: int, threads: int, metrics: Metrics, encoded: Callable[[AnyJob], None]) -> None:
        self._max_batch = max_batch
        self._metrics = metrics
        metrics.queue_depth.set_function(lambda: len(self._queue))
        self._encoded = encoded
        self._queue: FairQueue[AnyJob] = FairQueue()
        self._work: deque[tuple[Future[object], Work]] = deque()
        self._changed = threading.Condition()
        self._running = 0  # batches and other work under way
        self._overlaps = False  # whether other batches may run at the same time
        self._open = True
        self._threads = [threading.Thread(target=self._loop, name="compute", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, job: AnyJob) -> None:
        with self._changed:
            self._queue.add(job, job.sender)
            self._changed.notify()  # one thread: it passes on what it leaves

    def run(self, work: Work) -> Future[object]:
        """Run other work on a compute thread, after the batches under way and before the next."""
        future: Future[object] = Future()
        with self._changed:
            if self._open:
                self._work.append((future, work))
                self._changed.notify_all()
            else:
                future.set_exception(NotReady(GOING_DOWN))
        return future

    def close(self, seconds: float) -> None:
        """Stop, and wait up to `seconds` for the batches under way; queued jobs must be abandoned before."""
        with self._changed:
            self._open = False
            for future, _ in self._work:
                future.set_exception(NotReady(GOING_DOWN))
            self._work.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._may_begin():
                    if not self._open and not self._work and not self._queue:
                        self._changed.notify()
                        return
                    self._changed.wait()
                work = self._work.popleft() if self._work else None
                batch = [] if work else next_batch(self._queue, self._max_batch)
                self._running += 1
                self._overlaps = bool(batch) and batch[0].job.loaded.segmenter.passes_overlap
                if self._queue:
                    self._changed.notify()
            # torch applies the last number that any thread has set, so it is set before every step.
            torch.set_num_threads(COMPUTE_THREADS)
            if work is None:
                self._encode(batch)
            else:
                complete(*work)
            # The thread would otherwise keep the last batch's images, or a model, alive while it waits.
            del batch, work
            with self._changed:
                self._running -= 1

    def _may_begin(self) -> bool:
        """Whether a thread may take something; other work, and passes that do not overlap, have the whole device."""
        for waiting in self._queue:
            if waiting.abandoned:
                self._queue.drop(waiting)
        job = self._queue.next()
        if self._work or job is None:
            return bool(self._work) and not self._running
        return not self._running or (self._overlaps and job.loaded.segmenter.passes_overlap)

    def _encode(self, batch: Batch, may_split: bool = True) -> None:
        """Encode a batch; after out-of-memory it is retried once, in two halves."""
        batch = [portion for portion in batch if not portion.job.abandoned]
        if not batch:
            return
        try:
            self._pass(batch)
            return
        except (torch.OutOfMemoryError, MemoryError):
            for job, _, _ in batch:
                logger.warning("out of memory in the image pass", requests=len(batch), **job.log_fields)
            failure: Exception = NotReady("the image pass ran out of memory; send a smaller image or max_side")
        except Exception as error:
            for job, _, _ in batch:  # only the first line carries the stack trace
                trace = error if job is batch[0].job else None
                logger.error("image pass failed", requests=len(batch), exc_info=trace, **job.log_fields)
            failure, may_split = error, False
        halves = _halves(batch) if may_split else None
        for half in halves or ():
            self._encode(half, may_split=False)
        if halves is None:
            for job, _, _ in batch:
                job.fail(failure)

    def _pass(self, batch: Batch) -> None:
        with batch[0].job.loaded.hold() as segmenter:
            began = time.monotonic()
            tiles = [job.plan.tiles[first:last] for job, first, last in batch]
            encode = segmenter.encode_teaching if batch[0].job.plan.teaching else segmenter.encode_tiles
            tile_features = encode(tiles[0] if len(tiles) == 1 else np.concatenate(tiles))
            start, assembled = 0, []
            for job, first, last in batch:
                end = start + last - first
                own = tuple(part[start:end] for part in tile_features)
                if len(batch) > 1:  # views would keep the whole batch in memory while this image is cached
                    own = tuple(part.clone() for part in own)
                if self._keep_part(job, first, own):
                    parts = [job.parts[first] for first in sorted(job.parts)]
                    whole = parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
                    job.features = segmenter.assemble(job.plan, whole)
                    assembled.append(job)
                start = end
            ended = time.monotonic()
        self._metrics.batch_size.observe(start)
        self._metrics.stage("image", ended - began)
        for job, first, _ in batch:
            if first == 0:
                self._metrics.stage("queue", began - job.planned)
                job.stages.append(StageTime("queue", job.planned, began))
            job.stages.append(StageTime("image", began, ended))
            if job in assembled:
                job.computed, job.parts = ended, {}
                self._encoded(job)

    def _keep_part(self, job: AnyJob, first: int, part: TileFeatures) -> bool:
        """Keep the features of a job's tiles from `first` on; return whether all of its tiles have theirs now."""
        with self._changed:
            job.parts[first] = part
            return sum(len(part[0]) for part in job.parts.values()) == job.n_tiles


def warm_up_buckets(segmenter: Segmenter) -> list[tuple[int, int]]:
    """Height and width of the image passes of a model's warm-up: on a CPU, where a first pass is quick, two of them."""
    buckets = sorted(segmenter.buckets, key=math.prod)
    return buckets if torch.cuda.is_available() else sorted({*buckets[:1], *buckets[-1:]}, key=math.prod)


def _halves(batch: Batch) -> tuple[Batch, Batch] | None:
    """The batch in two halves, by jobs, or by tiles of a single job; None for a single tile."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return batch[:middle], batch[middle:]
    ((job, first, last),) = batch
    middle = (first + last) // 2
    return None if middle == first else ([Portion(job, first, middle)], [Portion(job, middle, last)])


def use_one_core() -> None:
    """Keep this thread's work on it: threads of OpenCV and torch would compete with the stages'."""
    cv2.setNumThreads(1)
    torch.get_num_threads()  # a thread's first use of torch takes the number set last anywhere; not after this one
    torch.set_num_threads(1)
