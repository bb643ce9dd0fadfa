"""Rows of examples in the text cache: made once, kept in memory and, where there is one, in Redis.

A row's name holds the API key that its image was sent with: another key's same image is a miss. It also holds the
image's own digest and the model's, so a row never goes stale, and outlives the image's features.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import orjson
from numpy.typing import NDArray

from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Region
from lexiseg_service.errors import InvalidValue, NotReady
from lexiseg_service.question.examples import ExampleRegion
from lexiseg_service.question.messages import Exemplified
from lexiseg_service.question.prompt_bounds import outside
from lexiseg_service.settings import Limits
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.examples.picture import kept_picture
from lexiseg_service.worker.job import Job
from lexiseg_service.worker.texts.cache import TextCache, TextCaches

RULE = 2  # by which methods make rows; another is another name, so that rows of an earlier one are not mixed in
Rendered = Callable[[Job[Exemplified], Segmenter, TextCache], Exemplified]


def check_regions(regions: tuple[ExampleRegion, ...], size: tuple[int, int]) -> None:
    """Every region must lie in an image of `size` (height, width).

    Raises:
        InvalidValue: one does not; names its field.
    """
    for shown in regions:
        region = shown.region
        if region.mask is not None and region.mask.size != size:
            expected = f"{list(size)}, the image's height and width"
            raise InvalidValue.of(f"{shown.field}.mask.size", list(region.mask.size), expected)
        if region.prompt is not None and (findings := list(outside(region.prompt, size, shown.field))):
            raise InvalidValue.together(findings)


def are_known(caches: TextCaches, job: Job[Exemplified]) -> bool:
    """Whether memory holds the rows of all regions, so that nothing has to be looked at."""
    if job.request.keep_picture:
        return False
    names = _names(job)
    return _cache(caches, job, job.loaded.segmenter).is_known(names) == len(set(names))


def rows_of_regions(caches: TextCaches, limits: Limits) -> Rendered:
    """The last stage of a request for the rows of examples."""

    def render(job: Job[Exemplified], segmenter: Segmenter, _: TextCache) -> Exemplified:
        began = time.monotonic()
        lookup = _cache(caches, job, segmenter).rows(_names(job), lambda: job.abandoned)
        picture = kept_picture(job.image, job.request.regions, segmenter, limits) if job.request.keep_picture else None
        job.stages.append(StageTime("examples", began, time.monotonic()))
        rows = tuple(row.tobytes() for row in lookup.rows)
        return Exemplified(job.image_id, segmenter.digest, rows, picture)

    return render


def _cache(caches: TextCaches, job: Job[Exemplified], segmenter: Segmenter) -> TextCache:
    regions = [shown.region for shown in job.request.regions]
    by_name = dict(zip(_names(job), regions, strict=True))

    def encode(names: list[str]) -> NDArray[np.float16]:
        if job.features is None:  # they were known a moment ago
            raise NotReady("the rows of the examples were just let go; ask again")
        rows = segmenter.example_rows(job.features, [by_name[name] for name in names])
        return rows.astype(np.float16)

    return caches.beside(f"examples:{RULE}:{segmenter.digest}", encode)


def _names(job: Job[Exemplified]) -> list[str]:
    request = job.request
    owner = [request.owner, job.image_id, request.max_side]
    return [orjson.dumps([*owner, _region(shown.region)]).decode() for shown in request.regions]


def _region(region: Region) -> list[object]:
    """What tells a region from others of its image."""
    prompt = region.prompt
    points = [] if prompt is None else [[point.x, point.y, point.positive] for point in prompt.points]
    box = None if prompt is None or prompt.box is None else list(prompt.box)
    return [points, box, None if region.mask is None else region.mask.counts]
