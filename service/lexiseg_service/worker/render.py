"""Render the answer of a job that has its features and its text rows: masks, pictures, warnings, times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.bands import bands
from lexiseg_model.masks import overlay
from lexiseg_model.masks.png import to_png
from lexiseg_model.masks.polygons import rings_of
from lexiseg_model.types import LabelMap, Segment, Segmentation
from lexiseg_model.vocabulary.scoring import Steady
from lexiseg_service.errors import DeadlineExceeded, InvalidValue
from lexiseg_service.question.messages import CacheUse, RenderedMap, Timings, WorkerAnswer
from lexiseg_service.worker.job import AnyJob, Job, T
from lexiseg_service.worker.warnings import absent_labels, warnings_of


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

    options = tasks.Options(
        request.threshold,
        request.refine,
        request.confidence,
        steady,
        request.prompts,
        keep_label_map=request.mask == "png" or job.rgb is not None,
        follow=follow,
        check=check,
    )
    query = tasks.Query(segmenter, job.features, request.vocabulary, options, job.lookup.rows_of)
    segmentation = tasks.answer(request.task, query)
    if segmentation.overlapping and request.mask == "png":
        raise InvalidValue.of("mask", "png", "rle, polygon or none: the segments overlap, which one map cannot show")
    picture = None
    if job.rgb is not None:
        picture = to_png(overlay.paint(job.rgb, segmentation.label_map, segmentation.segments))
    segments = segmentation.segments
    if request.mask == "polygon":
        segments = _with_rings(segments, request.simplify, check)
    label_map = _rendered(segmentation.label_map) if request.mask == "png" else None
    confidence = None if segmentation.probability is None else to_png(as_bytes(segmentation.probability))
    warnings = warnings_of(request.task, query, job.notes)
    answer = WorkerAnswer(
        image_id=job.image_id,
        model=segmenter.card.name,
        model_digest=segmenter.digest,
        task=request.task,
        size=segmentation.size,
        segments=segments,
        timings=_timings(job, began),
        # For a request with an owner the misses are the texts that this owner had not sent before, whatever the cache
        # had: hits would tell it which words others use.
        cache=CacheUse(len(set(job.lookup.texts)) - job.lookup.misses, job.lookup.misses, job.from_cache),
        mask=request.mask,
        label_map=label_map,
        confidence=confidence,
        overlay=picture,
        absent=absent_labels(segmentation, request.vocabulary),
        warnings=warnings,
    )
    return answer, segmentation


def _rendered(ids: LabelMap) -> RenderedMap:
    """A label map [H, W] of 8 or 16 bits as PNG."""
    return RenderedMap(to_png(ids), 8 if ids.dtype == np.uint8 else 16)


def _timings(job: AnyJob, began: float) -> Timings:
    """The times of a job whose rendering began at a time and ends now."""
    now = time.monotonic()
    return Timings(
        decode=1e3 * job.seconds("decode"),
        queue=1e3 * max(0.0, job.computed - job.seconds("image") - job.planned),  # an image's tiles may overlap
        text=1e3 * job.seconds("text"),
        image=1e3 * job.seconds("image"),
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
