"""Example regions of classes: their rows, kept like texts', and the pictures that vocabularies keep.

The key of a row holds the API key that its image was sent with, so the same image from another key is a miss. It also
holds the image's own digest and the model's, so a row never goes stale, and outlives the image's features.
"""

from __future__ import annotations

import io
import time
from dataclasses import replace

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.masks.rle import decode as decode_mask
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter, examples_of
from lexiseg_model.types import Point, Prompt, Region
from lexiseg_service.errors import InvalidValue, NotReady
from lexiseg_service.image.reader import decode
from lexiseg_service.question.messages import ExampleRegion, Exemplified
from lexiseg_service.question.prompts import outside
from lexiseg_service.settings import Limits
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.job import Job, Render
from lexiseg_service.worker.texts import TextCache, TextCaches

RULE = 3  # version of how methods encode examples: rows of different versions must not mix
JPEG_QUALITY = 90
MAX_PICTURE_SIDE, MIN_PICTURE_SIDE = 1024, 512  # pixels of a kept picture's longer and shorter side


def check_regions(regions: tuple[ExampleRegion, ...], size: tuple[int, int]) -> None:
    """Check that every region lies in an image of `size` (height, width).

    Raises:
        InvalidValue: one does not; names its field.
    """
    for example in regions:
        prompt = example.region.prompt or Prompt(mask=example.region.mask)
        if findings := list(outside(prompt, size, example.field)):
            raise InvalidValue.together(findings)


def rows_are_known(caches: TextCaches, job: Job[Exemplified]) -> bool:
    """Whether memory holds the rows of all regions, so that the image is not needed."""
    if job.request.keep_picture:
        return False
    names = _names(job)
    return not _cache(caches, job, job.loaded.segmenter).find(names).missing


def example_rows(caches: TextCaches, limits: Limits) -> Render[Exemplified]:
    """The last stage of a request for the rows of examples."""

    def render(job: Job[Exemplified]) -> Exemplified:
        began, segmenter = time.monotonic(), job.loaded.segmenter
        names = _names(job)
        rows = _cache(caches, job, segmenter).rows(names, lambda: job.abandoned).rows_of(names)
        stored: tuple[bytes, tuple[Region, ...]] = b"", ()
        if job.request.keep_picture:
            stored = kept_picture(job.image, job.request.regions, segmenter, limits)
        job.stages.append(StageTime("examples", began, time.monotonic()))
        return Exemplified(job.image_id, segmenter.digest, tuple(row.tobytes() for row in rows), *stored)

    return render


def _cache(caches: TextCaches, job: Job[Exemplified], segmenter: Segmenter) -> TextCache:
    regions = [example.region for example in job.request.regions]
    by_name = dict(zip(_names(job), regions, strict=True))

    def encode(names: list[str]) -> NDArray[np.float16]:
        if job.features is None:  # the rows were in memory when the request came, and the image was skipped
            raise NotReady("the rows of the examples have just been evicted; send the request again")
        rows = examples_of(segmenter).example_rows(job.features, [by_name[name] for name in names])
        return rows.astype(np.float16)

    return caches.space(f"examples:{RULE}:{segmenter.digest}", encode)


def _names(job: Job[Exemplified]) -> list[str]:
    request = job.request
    owner = [request.owner, job.image_id, request.max_side]
    return [orjson.dumps([*owner, _region(example.region)]).decode() for example in request.regions]


def _region(region: Region) -> list[object]:
    """Identifies a region within its image."""
    prompt = region.prompt
    points = [] if prompt is None else [[point.x, point.y, point.positive] for point in prompt.points]
    box = None if prompt is None or prompt.box is None else list(prompt.box)
    return [points, box, None if region.mask is None else region.mask.counts]


def kept_picture(
    image: bytes, regions: tuple[ExampleRegion, ...], segmenter: Segmenter, limits: Limits
) -> tuple[bytes, tuple[Region, ...]]:
    """The image as a small upright JPEG without metadata, for models loaded later, with its regions scaled to it.

    Raises:
        ServiceError: the image cannot be decoded.
        ShapeError: a mask cannot be read.
    """
    short_side = max(MIN_PICTURE_SIDE, segmenter.card.input.short_side)
    decoded = decode(image, limits, short_side)
    height, width = decoded.rgb.shape[:2]
    factor = min(1.0, max(short_side / min(height, width), 1e-9), MAX_PICTURE_SIDE / max(height, width))
    small = (max(limits.min_side, round(height * factor)), max(limits.min_side, round(width * factor)))
    scaled = tuple(_scaled(example.region, decoded.size, small) for example in regions)
    return _jpeg(decoded.rgb, small), scaled


def _jpeg(rgb: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """[H, W, 3] as a JPEG of `size` (height, width)."""
    if size != rgb.shape[:2]:
        rgb = np.asarray(cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _scaled(region: Region, size: tuple[int, int], small: tuple[int, int]) -> Region:
    """A region of an image of `size` (height, width), in that image at another size."""
    down, across = small[0] / size[0], small[1] / size[1]
    if region.mask is not None:
        mask = decode_mask(region.mask).astype(np.uint8)
        shrunk = cv2.resize(mask, (small[1], small[0]), interpolation=cv2.INTER_AREA if down < 1 else cv2.INTER_NEAREST)
        return Region(mask=encode_mask(shrunk > 0))
    assert region.prompt is not None
    prompt = region.prompt
    points = tuple(Point(point.x * across, point.y * down, point.positive) for point in prompt.points)
    if prompt.box is None:
        return Region(replace(prompt, points=points))
    x0, y0, x1, y1 = prompt.box
    return Region(Prompt(points, (x0 * across, y0 * down, x1 * across, y1 * down)))
