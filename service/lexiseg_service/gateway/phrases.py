"""Classes that are phrases go to a model of their own (LEXISEG_PHRASES_MODEL), the others to the default one.

question -> words, phrases -> two requests at once -> one answer, in which phrases lie above words
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.masks import rle
from lexiseg_model.types import Background, ClassEntry, ModelName, Rle, Segment, Vocabulary
from lexiseg_service.question.backend import Backend
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.validation import off_event_loop

MAX_WORDS = 2  # of a class that is no phrase


async def answer_by_kind(backend: Backend, request: WorkerRequest, model: str) -> WorkerAnswer:
    """Ask `model` for the phrases among a request's classes, and the request's own model for the others.

    The request goes on as it is where it has no phrase, `model` is not served or lacks the task, or the answer has
    pictures, polygons or prompts, which cannot be joined.

    Raises:
        ServiceError: of any kind, from either model.
    """
    classes, background = request.vocabulary.classes, request.vocabulary.background
    phrases = [index for index, entry in enumerate(classes) if _is_phrase(entry)]
    card = next((card for card in backend.cards() if ModelName.parse(model).fits(card)), None)
    joinable = request.mask == "rle" and not (request.overlay or request.confidence or request.prompts)
    if not phrases or not joinable or card is None or not card.phrases or request.task not in card.tasks:
        return await backend.segment(request)
    # Words may have to fill the picture; phrases lie above them where they are.
    vocabulary = replace(request.vocabulary, background=background or Background())
    of_phrases = replace(request, model=model, refine=None, vocabulary=_part(vocabulary, phrases))
    if len(phrases) == len(classes):
        return await backend.segment(of_phrases)
    words = [index for index in range(len(classes)) if index not in phrases]
    of_words = replace(request, vocabulary=_part(request.vocabulary, words))
    answers = await asyncio.gather(backend.segment(of_phrases), backend.segment(of_words))
    work = partial(_joined, request, [_renumbered(*pair) for pair in zip(answers, (phrases, words), strict=True)])
    return await off_event_loop(answers[0].size[0] * answers[0].size[1], work)


def _is_phrase(entry: ClassEntry) -> bool:
    return entry.shown is None and entry.learned is None and len(entry.name.split()) > MAX_WORDS


def _part(vocabulary: Vocabulary, indices: Sequence[int]) -> Vocabulary:
    return replace(vocabulary, classes=tuple(vocabulary.classes[index] for index in indices))


def _renumbered(answer: WorkerAnswer, indices: Sequence[int]) -> WorkerAnswer:
    """The answer with the class indices of the whole request."""
    fields = {f"classes.{part}": f"classes.{whole}" for part, whole in enumerate(indices)}
    return replace(
        answer,
        segments=tuple(
            replace(each, class_index=None if each.class_index is None else indices[each.class_index])
            for each in answer.segments
        ),
        senses=tuple(replace(each, class_index=indices[each.class_index]) for each in answer.senses),
        warnings=tuple(replace(each, field=fields.get(each.field or "", each.field)) for each in answer.warnings),
    )


def _joined(request: WorkerRequest, answers: Sequence[WorkerAnswer]) -> WorkerAnswer:
    """One answer of that to the phrases and that to the words, whose masks lose the pixels of phrases."""
    above, below = answers
    covered = np.zeros(below.size, bool)
    for segment in above.segments:
        covered |= rle.decode(segment.mask.counts, segment.mask.size)
    left = [each for each in (_outside(segment, covered) for segment in below.segments) if each.area]
    segments = sorted((*above.segments, *left), key=lambda segment: segment.class_index or 0)
    labels = {segment.label for segment in segments}
    return replace(
        below,
        segments=tuple(replace(segment, id=number) for number, segment in enumerate(segments, 1)),
        absent=tuple(entry.name for entry in request.vocabulary.classes if entry.name not in labels),
        warnings=(*below.warnings, *above.warnings),
        senses=(*below.senses, *above.senses),
        timings_ms=max(above.timings_ms, below.timings_ms, key=lambda timings: timings.total),
    )


def _outside(segment: Segment, covered: NDArray[np.bool_]) -> Segment:
    mask = segment.mask
    pixels = rle.decode(mask.counts, mask.size)
    if not (pixels & covered).any():
        return segment
    left = rle.encode(pixels & ~covered)
    return replace(segment, mask=Rle(mask.size, left, *rle.extent_of(rle.runs_of(left, mask.size), mask.size[0])))
