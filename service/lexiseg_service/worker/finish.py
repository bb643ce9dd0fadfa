"""The finish stage: jobs with their features and text rows wait for what they depend on, then render on a thread.

The answer of a job is masks, pictures, warnings and times.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.answers import CacheUse, Timings
from lexiseg_labels.masks import rle
from lexiseg_model import tasks
from lexiseg_model.masks import overlay
from lexiseg_model.masks.encodings import labels_to_png, rings_of, to_png
from lexiseg_model.pictures.bands import bands
from lexiseg_model.tasks.senses import chosen_senses
from lexiseg_model.types import LabelMap, Segment, Segmentation
from lexiseg_model.vocabulary.scoring import Steady
from lexiseg_service.errors import DeadlineExceeded, InvalidValue
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.question.messages import RenderedMap, WorkerAnswer
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.feature_cache import FeatureCache
from lexiseg_service.worker.job import AnyJob, Job, T
from lexiseg_service.worker.warnings import absent_labels, warnings_of

Callback = Callable[[], None]


class FinishStage:
    """Jobs with features and text rows in; their answers are set.

    A job is rendered on a fair executor, after the jobs that it depends on. A frame waits for the frame before it.
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
                job.features.derived.answered_tasks.add(flight[1])
            self._flights.leave(flight, succeeded=succeeded)

    def _render(self, job: AnyJob) -> None:
        began = time.monotonic()
        try:
            answer = job.render(job)
        finally:
            if job.request.remember:  # results derived from the features stay with them, also after an error
                self._features.weigh(self._features.key_of(job))
        ended = time.monotonic()
        job.stages.append(StageTime("post", began, ended))
        text = job.seconds_by_stage()["text"]
        self._metrics.observe_answer(text, ended - began, ended - job.accepted, from_cache=job.from_cache)
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
    return None if task in derived.answered_tasks else (id(derived), task)


def render(job: Job[WorkerAnswer]) -> WorkerAnswer:
    """Render the answer of a job with its features.

    Raises:
        DeadlineExceeded: the job is abandoned.
        InvalidValue: a PNG was asked for, and the segments overlap.
    """
    answer, _ = render_frame(job)
    return answer


def render_frame(
    job: Job[T], steady: Steady | None = None, follow: tasks.Follow | None = None
) -> tuple[WorkerAnswer, Segmentation]:
    """As `render`, with the masks behind the answer; for a video frame.

    Args:
        job: with its features.
        steady: averages logits over frames.
        follow: gives the masks of objects.
    """
    assert job.features is not None
    request, segmenter = job.request, job.loaded.segmenter
    began = time.monotonic()

    def check() -> None:
        if job.abandoned:
            raise DeadlineExceeded("the deadline passed while the answer was made")

    options = _options(job, steady=steady, follow=follow, check=check)
    query = tasks.Query(segmenter, job.features, request.vocabulary, options, job.lookup.rows_of)
    segmentation = tasks.answer(request.task, query)
    if segmentation.overlapping and request.mask == "png":
        raise InvalidValue.of("mask", "png", "rle, polygon or none: the segments overlap, which one map cannot show")
    picture = None
    if job.rgb is not None:
        ids = _map_of(request.painted, segmentation.size) if request.painted else segmentation.label_map
        picture = to_png(overlay.paint(job.rgb, ids, request.painted or segmentation.segments))
    segments = segmentation.segments
    if request.mask == "polygon":
        segments = _with_rings(segments, request.simplify, check)
    label_map = None
    if request.mask == "png":
        label_map = RenderedMap(
            labels_to_png(segmentation.label_map), 8 if segmentation.label_map.dtype == np.uint8 else 16
        )
    confidence = None if segmentation.probability is None else to_png(as_bytes(segmentation.probability))
    warnings = warnings_of(request.task, query, job.notes)
    answer = WorkerAnswer(
        image_id=job.image_id,
        model=segmenter.card.name,
        model_digest=segmenter.digest,
        task=request.task,
        size=segmentation.size,
        segments=segments,
        timings_ms=_timings(job, began),
        # For a request with an owner the misses are the texts that this owner had not sent before, whatever the cache
        # had: hits would tell it which words others use.
        cache=CacheUse(len(set(job.lookup.texts)) - job.lookup.misses, job.lookup.misses, job.from_cache),
        mask=request.mask,
        label_map=label_map,
        confidence=confidence,
        overlay=picture,
        absent=absent_labels(segmentation, request.vocabulary),
        warnings=warnings,
        senses=chosen_senses(query) if any(entry.senses for entry in request.vocabulary.classes) else (),
    )
    return answer, segmentation


def _map_of(segments: Sequence[Segment], size: tuple[int, int]) -> LabelMap:
    """Segment ids [H, W], 0 where there is none."""
    ids: LabelMap = np.zeros(size, np.uint8 if len(segments) < 256 else np.uint16)
    for segment in segments:
        ids[rle.decode(segment.mask.counts, size)] = segment.id
    return ids


def _options(job: AnyJob, **others: Any) -> tasks.Options:
    request = job.request
    return tasks.Options(
        threshold=request.threshold,
        refine=request.refine,
        keep_probability=request.confidence,
        prompts=request.prompts,
        keep_label_map=request.mask == "png" or job.rgb is not None,
        doubtful=request.doubtful,
        **others,
    )


def _timings(job: AnyJob, began: float) -> Timings:
    """The times of a job with a rendering that began at a time and ends now."""
    now, seconds = time.monotonic(), job.seconds_by_stage()
    return Timings(
        decode=1e3 * seconds["decode"],
        queue=1e3 * max(0.0, job.computed - seconds["image"] - job.planned),  # an image's tiles may overlap
        text=1e3 * seconds["text"],
        image=1e3 * seconds["image"],
        post=1e3 * (now - began),
        total=1e3 * (now - job.accepted),
    )


def _with_rings(segments: Sequence[Segment], simplify: float, check: Callable[[], None]) -> tuple[Segment, ...]:
    """The segments with their outlines; `simplify` in pixels."""
    outlined = []
    for segment in segments:
        check()
        outlined.append(replace(segment, rings=tuple(rings_of(segment.mask, simplify))))
    return tuple(outlined)


def as_bytes(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[H, W] in 0..1 -> 0..255; in bands, which bounds the memory of intermediates."""
    levels = np.empty(probability.shape, np.uint8)
    for band in bands((probability.shape[0], probability.shape[1])):
        levels[band] = np.rint(255 * probability[band])
    return levels
