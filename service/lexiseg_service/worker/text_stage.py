"""The text stage: fetch or encode the rows that are not in memory, before a job takes a finish thread.

Chunks of different clients alternate. Rows are kept as they come: a request that runs out of time gets a 429 that says
how many there are, and continues from there when it is sent again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial

from lexiseg_service.errors import QueueFull
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.executor import FairExecutor
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.texts.rows import CHUNK, Lookup, TextCaches

RESERVE = 0.15  # share of a request's time that is left for the finish
RETRY_SECONDS = 1


class TextStage:
    """Jobs with `texts` in, the same with their `lookup` out: each is handed to `done`, on a thread of this stage."""

    def __init__(self, caches: TextCaches, done: Callable[[AnyJob], None]) -> None:
        self._caches = caches
        self._done = done
        self._executors: dict[str, FairExecutor] = {}  # by text tower: a slow one delays no other
        self._guard = threading.Lock()

    @property
    def executors(self) -> tuple[FairExecutor, ...]:
        """Of all towers used so far."""
        return tuple(self._executors.values())

    def put(self, job: AnyJob) -> None:
        """Look up the texts of a job."""
        self._submit(time.monotonic(), job)

    def _submit(self, since: float, job: AnyJob) -> None:
        work = partial(job.run, partial(self._step, since))
        self._executor(job.loaded.segmenter.text_digest).submit(job.source, work, large=len(job.texts) > CHUNK)

    def _executor(self, tower: str) -> FairExecutor:
        with self._guard:
            if tower not in self._executors:
                # One thread for long lists; the executor's other one, for a few texts, waits for one chunk at most.
                self._executors[tower] = FairExecutor("texts", 1)
            return self._executors[tower]

    def _step(self, since: float, job: AnyJob) -> None:
        """Encode one chunk."""
        cache = self._caches.of(job.loaded.segmenter)
        if job.lookup is None:
            job.lookup = cache.find(job.texts)
        if job.lookup.missing:
            cache.encode_chunk(job.lookup)
        if job.lookup.missing:
            _check_time(job, job.lookup)
            self._submit(since, job)
            return
        now = time.monotonic()
        job.text_stage_seconds = now - since
        job.stages.append(StageTime("text", since, now))
        self._done(job)


def _check_time(job: AnyJob, lookup: Lookup) -> None:
    """Raise QueueFull when the deadline is near; the same request sent again continues from here."""
    deadline = job.request.deadline
    if math.isinf(deadline) or deadline - time.monotonic() >= RESERVE * (deadline - job.accepted):
        return
    n_texts = len(lookup.rows) + len(lookup.missing)
    raise QueueFull(
        f"{len(lookup.rows):,} of {n_texts:,} texts (classes, synonyms, templates) are encoded and kept, and the "
        "deadline is near; send the same request again, which continues from there",
        RETRY_SECONDS,
    )
