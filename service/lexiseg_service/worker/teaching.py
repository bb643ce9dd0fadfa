"""Lessons of reviewed images: labelled regions -> label map -> what the model learns from it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import teachable
from lexiseg_model.types import Background, Vocabulary
from lexiseg_model.vocabulary import heads
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_service.errors import DeadlineExceeded, InvalidValue
from lexiseg_service.question.messages import UNKNOWN, Taught
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.job import Job

Mask = NDArray[np.bool_]


def lesson(job: Job[Taught]) -> Taught:
    """The last stage of a request for the lesson of its labelled regions.

    Raises:
        TaskError: the model cannot be taught, or takes no prompts.
        TeachingError: nothing in the image is labelled.
        InvalidValue: a region is empty, or its mask cannot be read.
        DeadlineExceeded: the job is abandoned.
    """
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
            mask = prompted[number] if example.region.mask is None else decode(example.region.mask)
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
        masks[places[segment.prompt_index or 0]] = decode(segment.mask)
    return masks
