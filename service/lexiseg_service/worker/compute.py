"""The compute stage: one thread that owns the device, for all models.

It takes what waits, up to max_batch tiles of one model and one bucket, and waits only when nothing waits. While several
sources wait, a batch has no more tiles than pass quickly: each of them waits for the batches of the others. A CPU takes
as long for tiles together as for one after the other, so there this holds for every batch, for somebody may come; only
each of its threads has a tile. Between two batches it does errands: other work for the device, as the warm-up of a
model that has just been loaded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import structlog
import torch

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import NotReady
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.line import Line, Portion
from lexiseg_service.worker.models.pool import GOING_DOWN
from lexiseg_service.worker.stepping_aside import step_aside

logger = structlog.get_logger("lexiseg.engine")
COMPUTE_THREADS = torch.get_num_threads()
QUICK = 0.15  # seconds of an image pass, while several sources wait
QUICK_ON_CPU = 0.05  # whoever waits
LEARNING = 0.2  # weight of the latest pass in what a tile takes
Batch = list[Portion[AnyJob]]


class ComputeStage:
    """Planned jobs in, jobs with features out: each is handed to `encoded`, on the compute thread.

    `took` hears the digest of the model, the tiles and the seconds of each image pass. `gains` tells whether tiles
    together take less than one after the other, as on a GPU.
    """

    def __init__(
        self,
        max_batch: int,
        metrics: Metrics,
        encoded: Callable[[AnyJob], None],
        took: Callable[[str, int, float], None] = lambda digest, tiles, seconds: None,
        gains: bool = True,
    ) -> None:
        self._took = took
        self._gains = gains
        self._max_batch = max_batch
        self._metrics = metrics
        self._encoded = encoded
        self._line: Line[AnyJob] = Line()
        self._errands: deque[tuple[Future[None], Callable[[], object]]] = deque()
        self._arrived = threading.Condition()
        self._open = True
        self._seconds_per_tile = 0.0
        self._thread = threading.Thread(target=self._forever, name="compute", daemon=True)
        self._thread.start()

    def put(self, job: AnyJob) -> None:
        """A job whose plan is there joins the line."""
        with self._arrived:
            self._line.put(job)
            self._metrics.queue_depth.set(len(self._line))
            self._arrived.notify()

    def run(self, errand: Callable[[], object]) -> Future[None]:
        """Has something done on the compute thread, after the batch that is under way."""
        done: Future[None] = Future()
        with self._arrived:
            if self._open:
                self._errands.append((done, errand))
                self._arrived.notify()
            else:
                done.set_exception(NotReady(GOING_DOWN))
        return done

    def close(self, seconds: float) -> None:
        """Takes nothing more and waits for the batch under way; jobs still in the line must be abandoned by now."""
        with self._arrived:
            self._open = False
            for done, _ in self._errands:
                done.set_exception(NotReady(GOING_DOWN))
            self._errands.clear()
            self._arrived.notify()
        self._thread.join(seconds)

    def _forever(self) -> None:
        step_aside()
        # Of each new thread torch takes the number that was set last, by whichever thread.
        torch.set_num_threads(COMPUTE_THREADS)
        while True:
            with self._arrived:
                while not self._line and not self._errands:
                    if not self._open:
                        return
                    self._arrived.wait()
                done, errand = self._errands.popleft() if self._errands else (None, None)
                batch = self._line.take(self._most())
                self._metrics.queue_depth.set(len(self._line))
            if batch:
                self._encode_or_fail(batch)
            if done is not None and errand is not None:
                _do(done, errand)
            # The thread would otherwise keep the last batch's images, or a model, alive while it waits.
            del batch, done, errand

    def _most(self) -> int:
        """Tiles of the next batch."""
        quick, least = (QUICK, 1) if self._gains else (QUICK_ON_CPU, COMPUTE_THREADS)  # a core takes a tile of its own
        if (self._gains and self._line.n_sources < 2) or self._max_batch * self._seconds_per_tile <= quick:
            return self._max_batch
        return min(self._max_batch, max(least, int(quick / self._seconds_per_tile)))

    def _encode_or_fail(self, batch: Batch, may_split: bool = True) -> None:
        """Encodes a batch; one that does not fit the memory is tried again in two halves, once."""
        batch = [portion for portion in batch if not portion.job.abandoned]
        if not batch:
            return
        try:
            self._encode(batch)
            return
        except (torch.OutOfMemoryError, MemoryError):
            for job, _, _ in batch:
                logger.warning("out of memory in the image pass", requests=len(batch), **job.who)
            failure: Exception = NotReady("the image pass ran out of memory; send a smaller image or max_side")
        except Exception as error:
            for job, _, _ in batch:  # the trace once
                trace = error if job is batch[0].job else None
                logger.error("image pass failed", requests=len(batch), exc_info=trace, **job.who)
            failure, may_split = error, False
        halves = _halves(batch) if may_split else None
        if halves is not None:
            for half in halves:
                self._encode_or_fail(half, may_split=False)
            return
        for job, _, _ in batch:
            job.fail(failure)

    def _encode(self, batch: Batch) -> None:
        with batch[0].job.loaded.held() as segmenter:
            began = time.monotonic()
            tiles = [job.tiles[first:last] for job, first, last in batch]
            tile_features = segmenter.encode_tiles(np.concatenate(tiles))
            start = 0
            for job, first, last in batch:
                end = start + last - first
                job.parts[first] = tuple(part[start:end] for part in tile_features)
                if last == job.n_tiles:
                    _assemble(job, segmenter)
                start = end
            ended = time.monotonic()
        self._seconds_per_tile += LEARNING * ((ended - began) / start - self._seconds_per_tile)
        self._took(segmenter.digest, start, ended - began)
        self._metrics.batch_size.observe(start)
        self._metrics.stage("image", ended - began)
        for job, first, last in batch:
            if first == 0:
                self._metrics.stage("queue", began - job.planned)
                job.stages.append(StageTime("queue", job.planned, began))
            job.stages.append(StageTime("image", began, ended))
            job.image_seconds += ended - began
            if last == job.n_tiles:
                job.computed, job.parts = ended, {}
                self._encoded(job)


def _assemble(job: AnyJob, segmenter: Segmenter) -> None:
    assert job.plan is not None
    parts = [job.parts[first] for first in sorted(job.parts)]
    whole = parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts, strict=True))
    job.features = segmenter.assemble(job.plan, whole)


def _halves(batch: Batch) -> tuple[Batch, Batch] | None:
    """Half the jobs each; of a single job, half its tiles. None for a single tile."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return batch[:middle], batch[middle:]
    ((job, first, last),) = batch
    middle = (first + last) // 2
    return None if middle == first else ([Portion(job, first, middle)], [Portion(job, middle, last)])


def _do(done: Future[None], errand: Callable[[], object]) -> None:
    try:
        errand()
    except Exception as error:
        done.set_exception(error)
    else:
        done.set_result(None)
