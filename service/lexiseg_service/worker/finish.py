"""The finish stage: jobs with their features and text rows wait for what they depend on, then render on a thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial

from lexiseg_service.fair_executor import FairExecutor
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.feature_cache import FeatureCache, key_of
from lexiseg_service.worker.job import AnyJob

Callback = Callable[[], None]


class FinishStage:
    """Jobs with features and text rows in; their answers are set.

    A job is rendered on a fair executor, after the jobs whose result it needs. A frame waits for the frame before it.
    The first job of an image computes what is derived from its features (proposals, for example); other jobs of the
    same kind wait for it (single-flight). Nothing that waits occupies a thread.
    """

    def __init__(self, executor: FairExecutor, features: FeatureCache, metrics: Metrics) -> None:
        self._executor = executor
        self._features = features
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
        submit = partial(
            self._executor.submit,
            job.source,
            partial(self._run, job, flight),
            large=job.large,
            background=job.request.background,
        )
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
        try:
            answer = job.render(job)
        finally:
            if job.request.remember:  # results derived from the features stay with them, also after an error
                self._features.weigh(key_of(job))
        ended = time.monotonic()
        job.stages.append(StageTime("post", began, ended))
        self._metrics.answered(job.seconds("text"), ended - began, ended - job.accepted, from_cache=job.from_cache)
        card = job.loaded.segmenter.card
        self._metrics.model_answers.labels(card.name, card.version).inc()
        job.succeed(answer)


class SingleFlight:
    """Runs one callback of a key at a time until one succeeds, then all that wait; thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Callback]] = {}
        self._guard = threading.Lock()

    def join(self, key: Hashable, callback: Callback) -> None:
        """Call `callback`: now if it is the first of its key, else after a `leave`."""
        with self._guard:
            if key in self._waiting:
                self._waiting[key].append(callback)
                return
            self._waiting[key] = deque()
        callback()

    def leave(self, key: Hashable, *, succeeded: bool) -> None:
        """End the callback under way: if it succeeded all that wait are called, else the next one."""
        with self._guard:
            waiting = self._waiting.get(key)
            if waiting is None:  # it was called after another one's success
                return
            ready = [waiting.popleft()] if waiting and not succeeded else [*waiting]
            if succeeded or not ready:
                del self._waiting[key]
        for callback in ready:
            callback()


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
