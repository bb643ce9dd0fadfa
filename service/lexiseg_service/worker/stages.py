"""The last two stages: texts and finish.

Texts: fetch or encode the rows that are not in memory, before a job takes a finish thread. Chunks of different clients
alternate. Rows are kept as they come: a request that runs out of time gets a 429 that says how many there are, and
continues from there when it is sent again.

Finish: run each job's `render` on a fair executor, after the jobs whose result it needs. A frame waits for the frame
before it. The first job of an image computes what is derived from its features (proposals, for example); other jobs of
the same kind wait for it (single-flight). Nothing that waits occupies a thread.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial

from lexiseg_service.errors import QueueFull
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.executor import FairExecutor
from lexiseg_service.worker.feature_cache import FeatureCache, key_of
from lexiseg_service.worker.job import AnyJob
from lexiseg_service.worker.texts import CHUNK, Lookup, TextCaches

RESERVE = 0.15  # share of a request's time that is left for the finish
RETRY_SECONDS = 1
Go = Callable[[], None]


class TextStage:
    """Jobs with `texts` in, the same with their `lookup` out: each is handed to `done`, on a thread of this stage."""

    def __init__(self, caches: TextCaches, done: Callable[[AnyJob], None]) -> None:
        self._caches = caches
        self._done = done
        self._executors: dict[str, FairExecutor] = {}  # by text tower: a slow one delays no other
        self._guard = threading.Lock()

    @property
    def executors(self) -> tuple[FairExecutor, ...]:
        """Executors of all text towers used so far."""
        return tuple(self._executors.values())

    def put(self, job: AnyJob) -> None:
        """Look up the texts of a job."""
        now = time.monotonic()
        self._submit(now, now, job)

    def _submit(self, since: float, now: float, job: AnyJob) -> None:
        work = partial(job.run, partial(self._step, since, now))
        self._executor(job.loaded.segmenter.text_digest).submit(job.source, work, large=len(job.texts) > CHUNK)

    def _executor(self, tower: str) -> FairExecutor:
        with self._guard:
            if tower not in self._executors:
                # One thread for long lists; the executor's other one, for a few texts, waits for one chunk at most.
                self._executors[tower] = FairExecutor("texts", 1)
            return self._executors[tower]

    def _step(self, since: float, submitted: float, job: AnyJob) -> None:
        """Encode one chunk of a job that is in this stage since a time, and was submitted for this chunk later."""
        cache = self._caches.of(job.loaded.segmenter)
        if job.lookup is None:
            job.lookup = cache.find(job.texts)
        if job.lookup.missing:
            cache.encode_chunk(job.lookup)
        now = time.monotonic()
        if job.lookup.missing:
            _check_time(job, job.lookup, now - submitted)
            self._submit(since, now, job)
            return
        job.text_stage_seconds = now - since
        job.stages.append(StageTime("text", since, now))
        self._done(job)


def _check_time(job: AnyJob, lookup: Lookup, per_chunk: float) -> None:
    """Raise QueueFull when the deadline is near; the same request sent again continues from here.

    Near: another chunk, which takes `per_chunk` seconds with its wait, would leave too little time for the finish.
    """
    deadline = job.request.deadline
    if math.isinf(deadline) or deadline - time.monotonic() >= per_chunk + RESERVE * (deadline - job.accepted):
        return
    n_texts = len(lookup.rows) + len(lookup.missing)
    raise QueueFull(
        f"{len(lookup.rows):,} of {n_texts:,} texts (classes, synonyms, templates) are encoded and kept, and the "
        "deadline is near; send the same request again, which continues from there",
        RETRY_SECONDS,
    )


class FinishStage:
    """Jobs with features and text rows in; their answers are set."""

    def __init__(self, executor: FairExecutor, features: FeatureCache, texts: TextCaches, metrics: Metrics) -> None:
        self._executor = executor
        self._features = features
        self._texts = texts
        self._metrics = metrics
        self._flights = SingleFlight()

    def put(self, job: AnyJob) -> None:
        """Finish a job once the jobs that it depends on have ended."""
        before, job.after = job.after, None  # or each would keep the other, and with it a frame
        if before is None:
            self._enter(job)
        else:
            before.add_done_callback(lambda _: self._enter(job))

    def _enter(self, job: AnyJob) -> None:
        flight = _flight_of(job)
        submit = partial(self._executor.submit, job.source, partial(self._run, job, flight), large=job.large)
        if flight is None:
            submit()
        else:
            self._flights.join(flight, submit)

    def _run(self, job: AnyJob, flight: tuple[int, str] | None) -> None:
        job.run(self._render)
        if flight is not None:
            assert job.features is not None
            succeeded = job.answer.done() and not job.answer.cancelled() and job.answer.exception() is None
            if succeeded:
                job.features.derived.answered.add(flight[1])
            self._flights.leave(flight, succeeded=succeeded)

    def _render(self, job: AnyJob) -> None:
        began = time.monotonic()
        segmenter = job.loaded.segmenter
        try:
            answer = job.render(job, segmenter, self._texts.of(segmenter))
        finally:
            if job.request.remember:  # results derived from the features stay with them, also after an error
                self._features.weigh(key_of(job))
        ended = time.monotonic()
        job.stages.append(StageTime("post", began, ended))
        text = job.text_stage_seconds + job.text_seconds
        post = ended - began - job.text_seconds
        self._metrics.answered(text, post, ended - job.accepted, from_cache=job.from_cache)
        self._metrics.model_answers.labels(segmenter.card.name, segmenter.card.version).inc()
        job.succeed(answer)


class SingleFlight:
    """Callbacks by key, of which one is under way at a time until one succeeds; thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Go]] = {}
        self._guard = threading.Lock()

    def join(self, key: Hashable, go: Go) -> None:
        """Call `go`: now for the first of a key, else after `leave`."""
        with self._guard:
            if key in self._waiting:
                self._waiting[key].append(go)
                return
            self._waiting[key] = deque()
        go()

    def leave(self, key: Hashable, *, succeeded: bool) -> None:
        """End the one under way: if it succeeded all others go on, else the next one tries."""
        with self._guard:
            waiting = self._waiting.get(key)
            if waiting is None:  # it went on after another one's success
                return
            going = [waiting.popleft()] if waiting and not succeeded else [*waiting]
            if succeeded or not going:
                del self._waiting[key]
        for go in going:
            go()


def _flight_of(job: AnyJob) -> tuple[int, str] | None:
    """Key of the results that jobs of one task derive from an image's features.

    None for models that derive nothing, or where the results are there already.
    """
    card = job.loaded.segmenter.card
    if job.features is None or not ("prompt" in card.tasks or card.panoptic.source == "proposals"):
        return None
    derived = job.features.derived
    task = "prompt" if job.request.regions else job.request.task
    return None if task in derived.answered else (id(derived), task)
