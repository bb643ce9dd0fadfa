"""Classes that are phrases go to a model of their own (LEXISEG_PHRASES_MODEL), the others to the default one.

question -> words, phrases -> two requests at once -> one answer, in which phrases lie above words -> its overlay
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.answers import AnswerWarning
from lexiseg_labels.masks import rle
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import Background, ClassEntry, Rle, Segment, Vocabulary
from lexiseg_model.vocabulary import class_lists
from lexiseg_service.errors import QueueFull, ServiceError
from lexiseg_service.question.backend import Backend
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.validation import off_event_loop

# What makes a phrase of a noun: attributes before it, relations between two.
ATTRIBUTES = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|pink|brown|beige|black|white|gr[ae]y|golden|silver|dark|bright|striped|"
    r"spotted|wooden|metal|plastic|big|large|small|tiny|tall|short|long|huge|old|young|new|open|closed|empty|full|broken|"
    r"wet|dirty|standing|sitting|lying|running|walking|parked|smiling|left|right|(left|right)most|nearest|closest|"
    r"farthest|largest|biggest|smallest|tallest|second|third)\s+\S"
)
RELATIONS = re.compile(
    r"\S\s+(in|on|at|with|without|under|below|above|behind|beside|near|between|inside|outside|left|right|next|wearing|"
    r"holding|carrying|riding|facing|that|which|who|whose)\s+\S"
)
CHINESE = re.compile("[\u4e00-\u9fff].*的.|色.|[左右上下前后旁里]边|[上下前后里外]面|[穿戴拿]着")
PHRASES_SHARE = 0.8  # of the time of a request: words are answered in any case
UNANSWERED = "phrase-unanswered"
JOINED = ("rle", "none")  # formats of masks that are joined
BUSY = QueueFull.status  # from here on a status says that the service cannot, not that the request is wrong


async def answer_by_kind(backend: Backend, request: WorkerRequest, model: str) -> WorkerAnswer:
    """Ask `model` for the phrases among a request's classes, if it can answer, and the request's own model for others.

    A phrase with an answer that is late or cannot be joined is a warning.
    """
    classes = request.vocabulary.classes
    phrases = [index for index, entry in enumerate(classes) if is_phrase(entry)]
    card = next((card for card in backend.cards() if ModelName.parse(model).fits(card)), None)
    if not phrases or request.prompts or card is None or not card.phrases or request.task not in card.tasks:
        return await backend.segment(request)
    # Words may have to fill the picture; phrases lie above them where they are.
    vocabulary = replace(request.vocabulary, background=request.vocabulary.background or Background())
    of_phrases = replace(request, model=model, refine=None, vocabulary=_part(vocabulary, phrases))
    if len(phrases) == len(classes):
        return await backend.segment(of_phrases)
    if request.mask not in JOINED or request.confidence:
        reason = "its model was not asked: polygons, label maps and confidence of two models are not joined"
        return _with_warnings(await backend.segment(request), classes, phrases, reason)
    words = [index for index in range(len(classes)) if index not in phrases]
    of_words = replace(request, vocabulary=_part(request.vocabulary, words), mask="rle", overlay=False)
    now = time.monotonic()
    deadline = now + PHRASES_SHARE * (request.deadline - now)
    below, above = await _both(backend, of_words, replace(of_phrases, mask="rle", overlay=False, deadline=deadline))
    below = _renumbered(below, words)
    if isinstance(above, ServiceError):
        below = _with_warnings(below, classes, phrases, above.detail)
        absent = [index for index in words if classes[index].name in below.absent]
        joined = replace(below, absent=tuple(classes[index].name for index in sorted((*absent, *phrases))))
    else:
        work = partial(_joined, request, (_renumbered(above, phrases), below))
        joined = await off_event_loop(below.size[0] * below.size[1], work)
    if request.overlay:
        painted = await backend.segment(replace(of_words, overlay=True, painted=joined.segments))
        joined = replace(joined, overlay=painted.overlay)
    return replace(joined, mask=request.mask)


async def _both(
    backend: Backend, of_words: WorkerRequest, of_phrases: WorkerRequest
) -> tuple[WorkerAnswer, WorkerAnswer | ServiceError]:
    answers = (backend.segment(of_words), backend.segment(of_phrases))  # words are first in line
    below, above = await asyncio.gather(*answers, return_exceptions=True)
    if isinstance(below, BaseException):
        raise below
    if isinstance(above, ServiceError) and above.status >= BUSY:
        return below, above
    if isinstance(above, BaseException):
        raise above
    return below, above


def is_phrase(entry: ClassEntry) -> bool:
    """Whether a class is a noun with an attribute or a relation, in English or Chinese, and no name of a known list."""
    if entry.shown is not None or entry.is_taught:
        return False
    name = " ".join(entry.name.lower().split())
    in_english = ATTRIBUTES.search(name) or RELATIONS.search(name)
    return bool(CHINESE.search(name) or (in_english and name not in _listed_names()))


@cache
def _listed_names() -> frozenset[str]:
    """Names of the built-in lists in lower case, as "red panda"."""
    listed = (entry for name in class_lists.NAMES for entry in class_lists.class_list(name).classes)
    return frozenset(name.lower() for entry in listed for name in (entry.name, *entry.synonyms))


def _with_warnings(
    answer: WorkerAnswer, classes: Sequence[ClassEntry], phrases: Sequence[int], reason: str
) -> WorkerAnswer:
    warnings = [AnswerWarning(UNANSWERED, f"{classes[each].name}: {reason}", f"classes.{each}") for each in phrases]
    return replace(answer, warnings=(*answer.warnings, *warnings))


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
    """One answer of that to the phrases and that to the words, with masks that lose the pixels of phrases."""
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
