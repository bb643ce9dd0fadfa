"""The last stage: from one image's features and one vocabulary to a rendered answer."""

from __future__ import annotations

import hashlib
import time

import numpy as np
from numpy.typing import NDArray

from model import tasks
from model.masks import overlay
from model.segmenter import Segmenter
from service.messages import CacheUse, Timings, WorkerAnswer
from service.worker.job import Job
from service.worker.text_cache import TextCache


class _TimedRows:
    """Text rows through the cache, with the time and the hits they took."""

    def __init__(self, cache: TextCache) -> None:
        self._cache = cache
        self.seconds = 0.0
        self.hits = 0
        self.misses = 0

    def __call__(self, texts: list[str]) -> NDArray[np.float16]:
        began = time.monotonic()
        found = self._cache.rows(texts)
        self.seconds += time.monotonic() - began
        self.hits += found.hits
        self.misses += found.misses
        return found.rows


def finish(job: Job, segmenter: Segmenter, cache: TextCache) -> WorkerAnswer:
    """Scores, arg-max, RLE and overlay of a job whose features are there."""
    assert job.features is not None
    request = job.request
    rows = _TimedRows(cache)
    began = time.monotonic()
    found = tasks.semantic(segmenter, job.features, request.vocabulary, request.threshold, rows)
    picture = None
    if job.rgb is not None:
        picture = overlay.to_png(overlay.paint(job.rgb, found.label_map, found.segments))
    ended = time.monotonic()
    return WorkerAnswer(
        image_id=hashlib.sha256(request.image).hexdigest()[:32],
        model=segmenter.card.name,
        model_digest=segmenter.digest,
        task=request.task,
        size=found.size,
        segments=found.segments,
        timings=Timings(
            decode=1e3 * job.decode_seconds,
            queue=1e3 * (job.computed - job.image_seconds - job.planned),
            text=1e3 * rows.seconds,
            image=1e3 * job.image_seconds,
            post=1e3 * (ended - began - rows.seconds),
            total=1e3 * (ended - job.accepted),
        ),
        cache=CacheUse(rows.hits, rows.misses),
        overlay=picture,
    )
