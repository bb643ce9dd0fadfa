"""The finish stage: run each job's `render` on a fair executor, after the jobs whose result it needs.

A frame waits for the frame before it. The first job of an image computes what is derived from its features (proposals,
for example); other jobs of the same kind wait for it (single-flight). Nothing that waits occupies a thread.

The usual `render` is `finish`: scores, arg-max, RLE, overlay, warnings.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.masks import overlay
from lexiseg_model.masks.bilinear import bands
from lexiseg_model.masks.png import to_png
from lexiseg_model.masks.polygons import rings_of
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Ring, Segmentation
from lexiseg_model.vocabulary.scoring import Steady
from lexiseg_service.errors import DeadlineExceeded, InvalidValue
from lexiseg_service.question.messages import CacheUse, RenderedMap, Timings, WorkerAnswer
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.executor import FairExecutor
from lexiseg_service.worker.feature_cache import FeatureCache, key_of
from lexiseg_service.worker.job import AnyJob, Job, T
from lexiseg_service.worker.texts.rows import TextCache, TextCaches, stacked
from lexiseg_service.worker.warnings import absent_labels, warnings_about, warnings_of_prompts, warnings_of_words

Go = Callable[[], None]


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
            made = job.answer.done() and not job.answer.cancelled() and job.answer.exception() is None
            if made:
                job.features.derived.answered.add(flight[1])
            self._flights.leave(flight, made=made)

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
        self._metrics.answered_by(segmenter.card.name, segmenter.card.version)
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

    def leave(self, key: Hashable, *, made: bool) -> None:
        """End the one under way: if it succeeded all others go on, else the next one tries."""
        with self._guard:
            waiting = self._waiting.get(key)
            if waiting is None:  # it went on after another one's success
                return
            going = [waiting.popleft()] if waiting and not made else [*waiting]
            if made or not going:
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


class JobRows:
    """Text rows for one job: those of its text stage, else from the cache, whose time is added to the job's."""

    def __init__(self, cache: TextCache, job: Job[T]) -> None:
        self._cache = cache
        self._job = job

    def __call__(self, texts: list[str]) -> NDArray[np.float16]:
        rows = self._job.lookup.rows if self._job.lookup else {}
        if rows and all(text in rows for text in texts):
            return stacked(texts, rows)
        began = time.monotonic()
        lookup = self._cache.rows(texts, lambda: self._job.abandoned)
        ended = time.monotonic()
        self._job.text_seconds += ended - began
        self._job.stages.append(StageTime("text", began, ended))
        return lookup.in_order


def cache_use(job: Job[T], cache: TextCache) -> CacheUse:
    """Distinct texts of a job's vocabulary by whether a cache had their rows.

    For a request with an owner, the misses are the texts that this owner had not sent before, whatever the cache had:
    hits would tell it which words others use.
    """
    texts = set(job.texts)
    fresh = job.lookup.misses if job.lookup else 0
    misses = cache.first_asked(job.request.owner, texts) if job.request.owner else fresh
    return CacheUse(len(texts) - misses, misses, job.from_cache)


class Finished(NamedTuple):
    """The rendered answer, and the masks that it was rendered from."""

    answer: WorkerAnswer
    segmentation: Segmentation


def finish(job: Job[WorkerAnswer], segmenter: Segmenter, cache: TextCache) -> WorkerAnswer:
    """Render the answer of a job with its features.

    Raises:
        DeadlineExceeded: the job is abandoned.
        InvalidValue: a PNG was asked for, and the segments overlap.
    """
    return render(job, segmenter, cache).answer


def render(
    job: Job[T],
    segmenter: Segmenter,
    cache: TextCache,
    steady: Steady | None = None,
    follow: tasks.Follow | None = None,
) -> Finished:
    """As `finish`, for a video frame: `steady` averages logits over frames, `follow` gives the masks of objects."""
    assert job.features is not None
    request = job.request
    rows = JobRows(cache, job)
    began = time.monotonic()

    def check() -> None:
        if job.abandoned:
            raise DeadlineExceeded("the deadline passed while the answer was made")

    options = tasks.Options(
        request.threshold,
        request.refine,
        request.confidence,
        steady,
        request.prompts,
        keep_label_map=request.mask == "png" or job.rgb is not None,
        follow=follow,
        keep_counts=request.mask in ("rle", "polygon"),
        check=check,
    )
    segmentation = tasks.segment(request.task, segmenter, job.features, request.vocabulary, options, rows)
    if segmentation.overlapping and request.mask == "png":
        raise InvalidValue.of("mask", "png", "rle, polygon or none: the segments overlap, which one map cannot show")
    picture = None
    if job.rgb is not None:
        picture = to_png(overlay.paint(job.rgb, segmentation.label_map, segmentation.segments))
    polygons = _polygons(segmentation, request.simplify, check) if request.mask == "polygon" else None
    label_map = _label_map(segmentation) if request.mask == "png" else None
    confidence = None if segmentation.probability is None else to_png(as_bytes(segmentation.probability))
    absent = absent_labels(segmentation, request.vocabulary)
    words = warnings_of_words(request.vocabulary, request.task)
    prompts = () if segmenter.takes_masks else warnings_of_prompts(request.prompts, segmenter.card.name)
    warnings = (*prompts, *words, *warnings_about(segmenter, request.vocabulary, rows))
    ended = time.monotonic()
    answer = WorkerAnswer(
        image_id=job.image_id,
        model=segmenter.card.name,
        model_digest=segmenter.digest,
        task=request.task,
        size=segmentation.size,
        segments=segmentation.segments,
        timings=Timings(
            decode=1e3 * job.decode_seconds,
            queue=1e3 * (job.computed - job.image_seconds - job.planned),
            text=1e3 * (job.text_stage_seconds + job.text_seconds),
            image=1e3 * job.image_seconds,
            post=1e3 * (ended - began - job.text_seconds),
            total=1e3 * (ended - job.accepted),
        ),
        cache=cache_use(job, cache),
        mask=request.mask,
        polygons=polygons,
        label_map=label_map,
        confidence=confidence,
        overlay=picture,
        absent=absent,
        warnings=warnings,
    )
    return Finished(answer, segmentation)


def _polygons(segmentation: Segmentation, simplify: float, check: Callable[[], None]) -> tuple[list[Ring], ...]:
    """Outlines of each segment; `simplify` in pixels."""
    outlines = []
    for segment in segmentation.segments:
        check()
        outlines.append(rings_of(segment.mask, simplify))
    return tuple(outlines)


def as_bytes(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[H, W] in 0..1 -> 0..255; in bands, which bounds the memory of intermediates."""
    made = np.empty(probability.shape, np.uint8)
    for band in bands((probability.shape[0], probability.shape[1])):
        made[band] = np.rint(255 * probability[band])
    return made


def _label_map(segmentation: Segmentation) -> RenderedMap:
    return RenderedMap(to_png(segmentation.label_map), 8 if segmentation.label_map.dtype == np.uint8 else 16)
