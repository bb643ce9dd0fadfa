"""The text stage: rows that no cache in memory has are got before a job takes a finish thread.

A lookup goes on chunk by chunk, and between two chunks the others have their turn: so a list of thousands of new
words holds up its own request alone. Whoever finds all its rows in memory does not come here.

Rows are kept as they come. Who runs out of time hears before the deadline how many there are, and that asking again
goes on from there. What cannot be read in a few such times, even at the best speed of the tower, is told so soon.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import torch

from lexiseg_model.kernel.aside import aside
from lexiseg_service.errors import QueueFull, TooLarge
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.costs.forecast import Forecast
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.texts.cache import CHUNK, Read, TextCache
from lexiseg_service.worker.threads.fair import FairThreads

# After so many chunks it is asked whether there is time for the rest. The first ones of a process take longer.
JUDGED_AFTER = frozenset({4, 16, 64})
MOST_TIMES = 10  # that the same question is asked until all its texts are there
LAST = 0.1  # of a request's time: from then on it is told how far its texts came
MOST_LAST = 0.5  # likewise, where what comes after the texts takes long, or others' texts before its own
TURNS = 2.0  # times as long as it has waited for its last chunk: then the next may come too late
AGAIN_SECONDS = 1
Steps = Generator[None, None, Read]
Guarded = Callable[[AnyJob, Callable[[AnyJob], None]], None]


class ReadingStage:
    """Jobs whose texts are not all known in, the same with their rows out: each is handed to `has_read`.

    Args:
        forecast: hears who waits for the tower.
        guarded: runs a step of a job, unless nobody waits for it any more; what the step raises is the job's answer.
        has_read: called on a thread of this stage.
        least: seconds that so many texts take in the tower at least.
    """

    def __init__(
        self,
        forecast: Forecast,
        guarded: Guarded,
        has_read: Callable[[AnyJob], None],
        least: Callable[[int], float],
    ) -> None:
        self._forecast = forecast
        self._least = least
        self._guarded = guarded
        self._has_read = has_read
        self._threads: dict[str, FairThreads] = {}  # by text tower: a slow one holds up no other
        self._guard = threading.Lock()

    @property
    def threads(self) -> tuple[FairThreads, ...]:
        """Of all towers that have had something to do."""
        return tuple(self._threads.values())

    def put(self, job: AnyJob, cache: TextCache) -> None:
        """A job whose texts are to be got; `job.texts` says which."""
        self._forecast.reads(job.expected)
        since = time.monotonic()
        self._go_on(job, self._in_time(job, cache, cache.steps(job.texts, lambda: job.abandoned)), since)

    def _in_time(self, job: AnyJob, cache: TextCache, steps: Steps) -> Steps:
        """The steps, as long as there is time.

        Raises:
            TooLarge: they will not come to their end however often the question is asked.
            QueueFull: the deadline is near; asked again, they go on from there.
        """
        chunks, before = 0, time.monotonic()
        with closing(steps):
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    read: Read = end.value
                    return read
                chunks += 1
                if chunks in JUDGED_AFTER:
                    self._judge(job, cache)
                turn, before = time.monotonic() - before, time.monotonic()
                self._stop_in_time(job, cache, turn)
                yield

    def _judge(self, job: AnyJob, cache: TextCache) -> None:
        known, texts = _progress(job, cache)
        seconds, left = self._least(texts - known), job.request.deadline - time.monotonic()
        if seconds > MOST_TIMES * (job.request.deadline - job.accepted):
            raise TooLarge(
                f"{texts - known:,} of {texts:,} texts (classes, synonyms, templates) are new here and take "
                f"{seconds:.1f} s or more, {left:.1f} s are left until the deadline; ask in parts, whose texts are "
                "kept, or for less"
            )

    def _stop_in_time(self, job: AnyJob, cache: TextCache, turn: float) -> None:
        whole, left = job.request.deadline - job.accepted, job.request.deadline - time.monotonic()
        if math.isinf(whole):
            return
        rest = min(self._forecast.after_reading(job.expected), MOST_LAST * whole)
        if left > max(rest, LAST * whole, min(TURNS * turn, MOST_LAST * whole)):
            return
        known, texts = _progress(job, cache)
        if known < texts or left < rest:
            raise QueueFull(
                f"{known:,} of {texts:,} texts (classes, synonyms, templates) are read and kept, the others take "
                f"{self._least(texts - known):.1f} s or more, and the deadline is near; ask the same again, which goes "
                "on from there",
                AGAIN_SECONDS,
            )

    def _go_on(self, job: AnyJob, steps: Steps, since: float) -> None:
        large = len(job.texts) > CHUNK
        threads = self._threads_of(job.loaded.segmenter.text_digest)
        threads.submit(job.source, partial(self._turn, job, steps, since), large=large)

    def _threads_of(self, tower: str) -> FairThreads:
        with self._guard:
            if tower not in self._threads:
                # One encodes; one more is for few texts, which wait for a chunk of the others at most.
                self._threads[tower] = FairThreads("texts", 1, partial(torch.set_num_threads, 1))
            return self._threads[tower]

    def _turn(self, job: AnyJob, steps: Steps, since: float) -> None:
        over = True

        def step(_: AnyJob) -> None:
            nonlocal over
            over = aside(self._step, job, steps, since)

        self._guarded(job, step)
        if not over:
            self._go_on(job, steps, since)
            return
        steps.close()  # of a lookup that was given up in the middle
        self._forecast.has_read(job.expected)
        if job.rows:
            self._has_read(job)

    def _step(self, job: AnyJob, steps: Steps, since: float) -> bool:
        """Whether the lookup is over."""
        try:
            next(steps)
        except StopIteration as end:
            read: Read = end.value
        else:
            return False
        now = time.monotonic()
        job.rows, job.fresh = read
        job.reading_seconds = now - since
        job.stages.append(StageTime("text", since, now))
        return True


def _progress(job: AnyJob, cache: TextCache) -> tuple[int, int]:
    """How many of a job's distinct texts are in memory, and how many there are."""
    texts = list(dict.fromkeys(job.texts))
    return cache.is_known(texts), len(texts)
