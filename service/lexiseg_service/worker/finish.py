"""The answer of a job with its features: scores, arg-max, RLE, overlay, absent labels and warnings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.masks import overlay
from lexiseg_model.masks.bilinear import bands
from lexiseg_model.masks.png import to_png
from lexiseg_model.masks.polygons import rings_of
from lexiseg_model.segmenter import RowsOf, Segmenter, Unfamiliar
from lexiseg_model.types import AnswerWarning, Prompt, Ring, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import unfamiliar_classes
from lexiseg_model.vocabulary.scoring import Steady
from lexiseg_service.errors import DeadlineExceeded, InvalidValue
from lexiseg_service.question.messages import CacheUse, RenderedMap, Timings, WorkerAnswer
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.job import Job, T
from lexiseg_service.worker.texts import TextCache, stacked

UNFAMILIAR = "unfamiliar-word"
UNSPLIT = "unsplit-words"
STUFF = "stuff-as-instances"
NO_MASK_PROMPTS = "no-mask-prompts"
MAX_WARNINGS = 16  # of a kind; one more line sums up the rest


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
    levels = np.empty(probability.shape, np.uint8)
    for band in bands((probability.shape[0], probability.shape[1])):
        levels[band] = np.rint(255 * probability[band])
    return levels


def _label_map(segmentation: Segmentation) -> RenderedMap:
    return RenderedMap(to_png(segmentation.label_map), 8 if segmentation.label_map.dtype == np.uint8 else 16)


def absent_labels(segmentation: Segmentation, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Classes without a segment, in their order; none for prompts, which do not search for classes."""
    if segmentation.task in ("prompt", "everything"):
        return ()
    present = {segment.class_index for segment in segmentation.segments}
    absent = [entry for index, entry in enumerate(vocabulary.classes) if index not in present]
    # Stuff has no instances.
    return tuple([entry.name for entry in absent if segmentation.task != "instance" or entry.thing is not False])


def warnings_about(segmenter: Segmenter, vocabulary: Vocabulary, rows_of: RowsOf) -> tuple[AnswerWarning, ...]:
    """Warnings about words far from all words that the model was trained on.

    Of a request's own classes one each, up to `MAX_WARNINGS`, and one for the rest; of a named vocabulary one in all.
    """
    if not vocabulary.classes:
        return ()
    strangers = unfamiliar_classes(segmenter, vocabulary, rows_of)
    if not strangers:
        return ()
    names = [vocabulary.classes[stranger.class_index].name for stranger in strangers]
    model = segmenter.card.name
    if vocabulary.name is not None:
        return (_about_many(names, len(vocabulary.classes), model, "vocabulary"),)
    each = tuple(_about_one(stranger, name, model) for stranger, name in zip(strangers, names, strict=True))
    if len(each) <= MAX_WARNINGS:
        return each
    return (
        *each[: MAX_WARNINGS - 1],
        _about_many(names[MAX_WARNINGS - 1 :], len(vocabulary.classes), model, "classes"),
    )


def warnings_of_prompts(prompts: Sequence[Prompt], model: str) -> tuple[AnswerWarning, ...]:
    """One warning where masks are corrected by a model that takes no masks as prompts."""
    if not any(prompt.corrects for prompt in prompts):
        return ()
    detail = (
        f"{model} takes no masks as prompts: what the points and the box show alone, or the mask's box, was added to "
        "the mask or removed from it"
    )
    return (AnswerWarning(NO_MASK_PROMPTS, detail, "prompts"),)


def warnings_of_words(vocabulary: Vocabulary, task: Task) -> tuple[AnswerWarning, ...]:
    """Warnings about a request's own classes that are probably not what was meant; none for a named vocabulary.

    Commas in a word, and stuff in an instance task; up to `MAX_WARNINGS` of each kind.
    """
    if vocabulary.name is not None:
        return ()
    entries = list(enumerate(vocabulary.classes))
    unsplit = [
        AnswerWarning(
            UNSPLIT,
            f"{entry.name!r} was looked for as one thing; commas never split: send each word as a class of its own",
            f"classes.{index}",
        )
        for index, entry in entries
        if "," in entry.name
    ]
    if task != "instance":
        return tuple(unsplit[:MAX_WARNINGS])
    stuff = [
        AnswerWarning(
            STUFF,
            f"{entry.name!r} has no instances, so none was looked for; ask for semantic or panoptic",
            f"classes.{index}",
        )
        for index, entry in entries
        if entry.thing is False
    ]
    return (*unsplit[:MAX_WARNINGS], *stuff[:MAX_WARNINGS])


def _about_one(stranger: Unfamiliar, name: str, model: str) -> AnswerWarning:
    field = f"classes.{stranger.class_index}"
    if stranger.is_foreign:
        hint = f" (the nearest word of training is {stranger.nearest!r})" if stranger.nearest else ""
        return AnswerWarning(
            UNFAMILIAR,
            f"{name!r} does not look like an English word, and {model} reads English; what it marks is a guess{hint}",
            field,
        )
    return AnswerWarning(
        UNFAMILIAR,
        f"{name!r} is far from every word that {model} was trained on; what it marks is a guess (the nearest is "
        f"{stranger.nearest!r} with a likeness of {stranger.likeness:.2f}, familiar words have {stranger.bound:.2f})",
        field,
    )


def _about_many(names: list[str], n_classes: int, model: str, field: str) -> AnswerWarning:
    listed = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    return AnswerWarning(
        UNFAMILIAR,
        f"{len(names):,} of {n_classes:,} classes are far from every word that {model} was trained on; what it marks "
        f"as these is a guess: {listed}",
        field,
    )
