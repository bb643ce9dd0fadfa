"""Image passes of batches: jobs go in with their tiles and come out with their features, or an error of their own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
import structlog
import torch

from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import NotReady
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.compute.line import Portion
from lexiseg_service.worker.job import AnyJob

logger = structlog.get_logger("lexiseg.engine")
LEARNING = 0.2  # weight of the latest pass in what a tile takes
Batch = list[Portion[AnyJob]]


class Passes:
    """Runs them, on any thread; `encoded` gets each job whose features are there.

    `seconds_per_tile` is a moving average, as if the whole device had been in each pass.
    """

    def __init__(self, metrics: Metrics, encoded: Callable[[AnyJob], None]) -> None:
        self.seconds_per_tile = 0.0
        self._metrics = metrics
        self._encoded = encoded
        self._guard = threading.Lock()

    def run(self, batch: Batch, share: float, may_split: bool = True) -> None:
        """Encodes a batch; one that does not fit the memory is tried again in two halves, once.

        `share` is that of the device that it has.
        """
        batch = [portion for portion in batch if not portion.job.abandoned]
        if not batch:
            return
        try:
            self._encode(batch, share)
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
                self.run(half, share, may_split=False)
            return
        for job, _, _ in batch:
            job.fail(failure)

    def _encode(self, batch: Batch, share: float) -> None:
        with batch[0].job.loaded.held() as segmenter:
            began = time.monotonic()
            tiles = [job.tiles[first:last] for job, first, last in batch]
            tile_features = segmenter.encode_tiles(tiles[0] if len(tiles) == 1 else np.concatenate(tiles))
            start = 0
            for job, first, last in batch:
                end = start + last - first
                job.parts[first] = tuple(part[start:end] for part in tile_features)
                if last == job.n_tiles:
                    _assemble(job, segmenter)
                start = end
            ended = time.monotonic()
        of_device = (ended - began) * share
        with self._guard:
            self.seconds_per_tile += LEARNING * (of_device / start - self.seconds_per_tile)
        self._metrics.batch_size.observe(start)
        self._metrics.stage("image", of_device)
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


def to_warm_up(segmenter: Segmenter) -> list[tuple[int, int]]:
    """Buckets of a model. All where there is a GPU, twice: the second pass is recorded
    (`lexiseg_model.export.cuda_graphs`). On a CPU, where a first pass is as quick as a second, the extremes."""
    buckets = sorted(segmenter.buckets, key=math.prod)
    return [*buckets, *buckets] if torch.cuda.is_available() else sorted({*buckets[:1], *buckets[-1:]}, key=math.prod)
