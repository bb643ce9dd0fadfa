"""The text stage: rows that are not in memory are got before a job takes a finish thread.

A lookup goes on chunk by chunk, and between two chunks other clients have their turn. Rows are kept as they come: a
request that runs out of time hears how many there are, and goes on from there when it is asked again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import torch

from lexiseg_service.errors import QueueFull
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.executor import FairExecutor
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.texts.cache import CHUNK, Read, TextCache

RESERVE = 0.15  # of a request's time, which is left for the finish
RETRY_SECONDS = 1
Steps = Generator[None, None, Read]
Guarded = Callable[[AnyJob, Callable[[AnyJob], None]], None]


class ReadingStage:
    """Jobs whose texts are not all known in, the same with their rows out: each is handed to `has_read`.

    Args:
        guarded: runs a step of a job, unless nobody waits for it any more; what the step raises is the job's answer.
        has_read: called on a thread of this stage.
    """

    def __init__(self, guarded: Guarded, has_read: Callable[[AnyJob], None]) -> None:
        self._guarded = guarded
        self._has_read = has_read
        self._executors: dict[str, FairExecutor] = {}  # by text tower: a slow one holds up no other
        self._guard = threading.Lock()

    @property
    def executors(self) -> tuple[FairExecutor, ...]:
        """Of all towers that have had something to do."""
        return tuple(self._executors.values())

    def put(self, job: AnyJob, cache: TextCache) -> None:
        """A job whose texts are to be got; `job.texts` says which."""
        steps = _in_time(job, cache, cache.steps(job.texts, lambda: job.abandoned))
        self._go_on(job, steps, time.monotonic())

    def _go_on(self, job: AnyJob, steps: Steps, since: float) -> None:
        executor = self._executor(job.loaded.segmenter.text_digest)
        executor.submit(job.source, partial(self._step, job, steps, since), large=len(job.texts) > CHUNK)

    def _executor(self, tower: str) -> FairExecutor:
        with self._guard:
            if tower not in self._executors:
                # One thread encodes; the executor's other one is for few texts, which wait for one chunk at most.
                self._executors[tower] = FairExecutor("texts", 1, partial(torch.set_num_threads, 1))
            return self._executors[tower]

    def _step(self, job: AnyJob, steps: Steps, since: float) -> None:
        more = False

        def step(_: AnyJob) -> None:
            nonlocal more
            try:
                next(steps)
                more = True
            except StopIteration as end:
                _read(job, end.value, since)

        self._guarded(job, step)
        if more:
            self._go_on(job, steps, since)
            return
        steps.close()  # of a lookup that was given up in the middle
        if job.rows:
            self._has_read(job)


def _in_time(job: AnyJob, cache: TextCache, steps: Steps) -> Steps:
    """The steps, as long as there is time.

    Raises:
        QueueFull: the deadline is near; asked again, the lookup goes on from there.
    """
    whole = job.request.deadline - job.accepted
    with closing(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                read: Read = end.value
                return read
            left = job.request.deadline - time.monotonic()
            texts = list(dict.fromkeys(job.texts))
            if not math.isinf(whole) and left < RESERVE * whole and (known := cache.is_known(texts)) < len(texts):
                raise QueueFull(
                    f"{known:,} of {len(texts):,} texts (classes, synonyms, templates) are read and "
                    "kept, and the deadline is near; ask the same again, which goes on from there",
                    RETRY_SECONDS,
                )
            yield


def _read(job: AnyJob, read: Read, since: float) -> None:
    now = time.monotonic()
    job.rows, job.fresh = read
    job.reading_seconds = now - since
    job.stages.append(StageTime("text", since, now))
