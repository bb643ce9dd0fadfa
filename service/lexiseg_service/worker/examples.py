"""Regions of images: rows of examples, kept like texts', pictures that vocabularies keep, and lessons of labelled ones.

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

from lexiseg_model import tasks
from lexiseg_model.abilities import examples_of, teachable
from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.rle import decode as decode_mask
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, Point, Prompt, Region, Vocabulary
from lexiseg_model.vocabulary import heads
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, NotReady
from lexiseg_service.image.reader import decode
from lexiseg_service.question.backend import Exemplified, Taught
from lexiseg_service.question.messages import UNKNOWN, ExampleRegion
from lexiseg_service.question.prompts import outside
from lexiseg_service.settings import Limits
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.job import Job, Render
from lexiseg_service.worker.texts import TextCache, TextCaches

RULE = 3  # version of how methods encode examples: rows of different versions must not mix
JPEG_QUALITY = 90
MAX_PICTURE_SIDE, MIN_PICTURE_SIDE = 1024, 512  # pixels of a kept picture's longer and shorter side
Mask = NDArray[np.bool_]


def check_regions(regions: tuple[ExampleRegion, ...], size: tuple[int, int]) -> None:
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
    prompt = region.prompt
    points = [] if prompt is None else [[point.x, point.y, point.positive] for point in prompt.points]
    box = None if prompt is None or prompt.box is None else list(prompt.box)
    return [points, box, None if region.mask is None else region.mask.counts]


def kept_picture(
    image: bytes, regions: tuple[ExampleRegion, ...], segmenter: Segmenter, limits: Limits
) -> tuple[bytes, tuple[Region, ...]]:
    """The image as a small upright JPEG without metadata, for models loaded later, with its regions scaled to it."""
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


def lesson(job: Job[Taught]) -> Taught:
    assert job.features is not None
    began, segmenter, vocabulary = time.monotonic(), job.loaded.segmenter, job.request.vocabulary
    model = teachable(segmenter)
    classes = tuple(entry.name for entry in vocabulary.classes)
    labelled = heads.LabelledPicture(_labels(job, len(classes)), classes)
    bank = bank_of(segmenter, replace(vocabulary, background=Background()), job.lookup.rows_of)
    learned = model.lesson(job.features, labelled, bank)
    job.stages.append(StageTime("lesson", began, time.monotonic()))
    return Taught(job.image_id, segmenter.digest, learned.to_bytes())


def _labels(job: Job[Taught], n_classes: int) -> NDArray[np.int16]:
    """The label map [H, W] of a job's regions, later ones above earlier ones; `n_classes` where there is none."""
    assert job.features is not None
    request = job.request
    prompted = _prompted(job)
    labels = np.full(job.features.size, n_classes, np.int16)
    for number, (example, class_index) in enumerate(zip(request.regions, request.region_classes or (), strict=True)):
        try:
            mask = prompted[number] if example.region.mask is None else decode_mask(example.region.mask)
        except ShapeError as error:
            raise InvalidValue.of(f"{example.field}.mask", str(error), "run lengths of the mask's size") from None
        if not mask.any():
            raise InvalidValue.of(example.field, "an empty mask", "a region with at least one pixel")
        labels[mask] = heads.UNKNOWN if class_index == UNKNOWN else class_index
    return labels


def _prompted(job: Job[Taught]) -> dict[int, Mask]:
    """The best mask [H, W] for each region of points or a box, by its place, as the task prompt answers it."""
    assert job.features is not None
    segmenter = job.loaded.segmenter

    def check() -> None:
        if job.abandoned:
            raise DeadlineExceeded("the deadline passed while the lesson was made")

    by_place = {
        place: example.region.prompt for place, example in enumerate(job.request.regions) if example.region.prompt
    }
    if not by_place:
        return {}
    options = tasks.Options(prompts=tuple(by_place.values()), keep_label_map=False, check=check)
    query = tasks.Query(segmenter, job.features, Vocabulary(()), options, job.lookup.rows_of)
    masks = {place: np.zeros(job.features.size, bool) for place in by_place}
    places = [*by_place]
    for segment in reversed(tasks.answer("prompt", query).segments):  # the best of a prompt comes first
        masks[places[segment.prompt_index or 0]] = decode_mask(segment.mask)
    return masks
