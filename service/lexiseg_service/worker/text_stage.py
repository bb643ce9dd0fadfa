"""The text stage: jobs with texts that memory lacks get their rows, a chunk at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from lexiseg_service.errors import QueueFull
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.compute import use_one_core
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.texts import CHUNK, TextCaches

RESERVE = 0.15  # share of a request's time that is left for the finish


class TextStage:
    """Completes the `lookup` of jobs, chunks of clients in turn; a request that runs out of time may continue later."""

    def __init__(self, caches: TextCaches, on_ready: Callable[[AnyJob], None]) -> None:
        self._caches = caches
        self._on_ready = on_ready
        # One thread for long lists; the executor's other one, for a few texts, waits for one chunk at most.
        self.executor = FairExecutor("texts", 1, initializer=use_one_core)

    def put(self, job: AnyJob, since: float | None = None) -> None:
        """Encode a chunk in turn; `since`: when the job came, if this is not its first chunk."""
        now = time.monotonic()
        work = partial(job.run, partial(self._step, since or now, now))
        large = len(job.lookup.texts) > CHUNK
        self.executor.submit(job.source, work, large=large, background=job.request.background)

    def _step(self, since: float, submitted: float, job: AnyJob) -> None:
        """Encode one chunk of a job that is in this stage since a time, and was submitted for this chunk later."""
        cache, lookup = self._caches.cache_of(job.loaded.segmenter), job.lookup
        if submitted == since:
            cache.fetch(lookup, job.request.owner)
        if lookup.missing:
            cache.encode_chunk(lookup)
        now = time.monotonic()
        if lookup.missing:
            _check_time(job, now - submitted)
            self.put(job, since)
            return
        job.stages.append(StageTime("text", since, now))
        self._on_ready(job)


def _check_time(job: AnyJob, per_chunk: float) -> None:
    """Raise QueueFull when another chunk, which takes `per_chunk` seconds, would leave too little time to finish."""
    deadline = job.request.deadline
    if math.isinf(deadline) or deadline - time.monotonic() >= per_chunk + RESERVE * (deadline - job.accepted):
        return
    n_known, n_missing = len(job.lookup.rows), len(job.lookup.missing)
    raise QueueFull(
        f"{n_known:,} of {n_known + n_missing:,} texts (classes, synonyms, templates) are encoded and kept, and the "
        "deadline is near; send the same request again, which continues from there"
    )
