"""The finish stage: jobs with their features and text rows wait for what they depend on, then render on a thread.

The answer of a job is masks, pictures, warnings and times.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.answers import AnswerWarning, CacheUse, Timings
from lexiseg_labels.masks import rle
from lexiseg_model import tasks
from lexiseg_model.internal import Corrections
from lexiseg_model.masks import overlay
from lexiseg_model.masks.encodings import labels_to_png, rings_of, to_png
from lexiseg_model.pictures.bands import bands
from lexiseg_model.pictures.colours import Note
from lexiseg_model.segmenter import Unfamiliar
from lexiseg_model.tasks.senses import chosen_senses
from lexiseg_model.types import ClassEntry, LabelMap, Segment, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import unfamiliar_classes
from lexiseg_model.vocabulary.class_names import DOUBTS
from lexiseg_model.vocabulary.language_names import ENGLISH, name_of, script_of
from lexiseg_model.vocabulary.scoring import Steady
from lexiseg_service.errors import DeadlineExceeded, InvalidValue
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.question.messages import RenderedMap, WorkerAnswer
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import StageTime
from lexiseg_service.worker.feature_cache import FeatureCache
from lexiseg_service.worker.job import AnyJob, Job, T

Callback = Callable[[], None]
TRANSLATED = "translated-word"
AMBIGUOUS = "ambiguous-language"
RELATION = "unread-relation"
STUFF = "stuff-as-instances"
NO_MASK_PROMPTS = "no-mask-prompts"
MAX_WARNINGS = 16  # of a kind; one more line sums up the rest
UNFAMILIAR = "unfamiliar-word"


class FinishStage:
    """Renders jobs on a fair executor, a frame after the frame before it.

    The first job of an image computes what is derived from its features (single-flight). What waits takes no thread.
    """

    def __init__(self, executor: FairExecutor, features: FeatureCache, metrics: Metrics) -> None:
        self._executor = executor
        self._features = features
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
        submit = partial(
            self._executor.submit,
            job.source,
            partial(self._run, job, flight),
            large=job.large,
            background=job.request.background,
        )
        if flight is None:
            submit()
        else:
            self._flights.join(flight, submit)

    def _run(self, job: AnyJob, flight: tuple[int, str] | None) -> None:
        job.run(self._render)
        if flight is not None:
            assert job.features is not None
            succeeded = job.answer.done() and not job.answer.cancelled() and job.answer.exception() is None
            if succeeded:
                job.features.derived.answered_tasks.add(flight[1])
            self._flights.leave(flight, succeeded=succeeded)

    def _render(self, job: AnyJob) -> None:
        began = time.monotonic()
        try:
            answer = job.render(job)
        finally:
            if job.request.remember:  # results derived from the features stay with them, also after an error
                self._features.weigh(self._features.key_of(job))
        ended = time.monotonic()
        job.stages.append(StageTime("post", began, ended))
        text = job.seconds_by_stage()["text"]
        self._metrics.observe_answer(text, ended - began, ended - job.accepted, from_cache=job.from_cache)
        card = job.loaded.segmenter.card
        self._metrics.model_answers.labels(card.name, card.version).inc()
        job.succeed(answer)


class SingleFlight:
    """Runs one callback of a key at a time until one succeeds, then all that wait; thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Callback]] = {}
        self._guard = threading.Lock()

    def join(self, key: Hashable, callback: Callback) -> None:
        """Call `callback`: now if it is the first of its key, else after a `leave`."""
        with self._guard:
            if key in self._waiting:
                self._waiting[key].append(callback)
                return
            self._waiting[key] = deque()
        callback()

    def leave(self, key: Hashable, *, succeeded: bool) -> None:
        """End the callback under way: if it succeeded all that wait are called, else the next one."""
        with self._guard:
            waiting = self._waiting.get(key)
            if waiting is None:  # it was called after another one's success
                return
            ready = [waiting.popleft()] if waiting and not succeeded else [*waiting]
            if succeeded or not ready:
                del self._waiting[key]
        for callback in ready:
            callback()


def _flight_of(job: AnyJob) -> tuple[int, str] | None:
    """Key of the results that jobs of one task derive from an image's features; None: there is nothing to derive."""
    card = job.loaded.segmenter.card
    if job.features is None or not ("prompt" in card.tasks or card.panoptic.source == "proposals"):
        return None
    derived = job.features.derived
    task = "prompt" if job.request.regions else job.request.task
    return None if task in derived.answered_tasks else (id(derived), task)


def render(job: Job[WorkerAnswer]) -> WorkerAnswer:
    return render_frame(job)[0]


def render_frame(
    job: Job[T], steady: Steady | None = None, follow: tasks.Follow | None = None
) -> tuple[WorkerAnswer, Segmentation]:
    """The answer of a job, and its masks; of a frame `steady` averages logits, `follow` gives the masks of objects."""
    assert job.features is not None
    request, segmenter = job.request, job.loaded.segmenter
    began = time.monotonic()

    def check() -> None:
        if job.abandoned:
            raise DeadlineExceeded("the deadline passed while the answer was made")

    options = tasks.Options(
        threshold=request.threshold,
        refine=request.refine,
        keep_probability=request.confidence,
        prompts=request.prompts,
        keep_label_map=request.mask == "png" or job.rgb is not None,
        doubtful=request.doubtful,
        steady=steady,
        follow=follow,
        check=check,
    )
    query = tasks.Query(segmenter, job.features, request.vocabulary, options, job.lookup.rows_of)
    segmentation = tasks.answer(request.task, query)
    if segmentation.overlapping and request.mask == "png":
        raise InvalidValue.of("mask", "png", "rle, polygon or none: the segments overlap, which one map cannot show")
    segments = segmentation.segments
    if request.mask == "polygon":
        segments = _with_rings(segments, request.simplify, check)
    label_map = None
    if request.mask == "png":
        label_map = RenderedMap(
            labels_to_png(segmentation.label_map), 8 if segmentation.label_map.dtype == np.uint8 else 16
        )
    confidence = None if segmentation.probability is None else to_png(as_bytes(segmentation.probability))
    warnings = warnings_of(request.task, query, job.notes)
    answer = WorkerAnswer(
        image_id=job.image_id,
        model=segmenter.card.name,
        model_digest=segmenter.digest,
        task=request.task,
        size=segmentation.size,
        segments=segments,
        timings_ms=_timings(job, began),
        # For a request with an owner the misses are the texts that this owner had not sent before, whatever the cache
        # had: hits would tell it which words others use.
        cache=CacheUse(len(set(job.lookup.texts)) - job.lookup.misses, job.lookup.misses, job.from_cache),
        mask=request.mask,
        label_map=label_map,
        confidence=confidence,
        overlay=_overlay(job, segmentation),
        absent=absent_labels(segmentation, request.vocabulary),
        warnings=warnings,
        senses=chosen_senses(query) if any(entry.senses for entry in request.vocabulary.classes) else (),
    )
    return answer, segmentation


def _overlay(job: AnyJob, segmentation: Segmentation) -> bytes | None:
    if job.rgb is None:
        return None
    if not (painted := job.request.painted):
        return to_png(overlay.paint(job.rgb, segmentation.label_map, segmentation.segments))
    ids: LabelMap = np.zeros(segmentation.size, np.uint8 if len(painted) < 256 else np.uint16)
    for segment in painted:
        ids[rle.decode(segment.mask.counts, segmentation.size)] = segment.id
    return to_png(overlay.paint(job.rgb, ids, painted))


def _timings(job: AnyJob, began: float) -> Timings:
    """The times of a job with a rendering that began at a time and ends now."""
    now, seconds = time.monotonic(), job.seconds_by_stage()
    return Timings(
        decode=1e3 * seconds["decode"],
        queue=1e3 * max(0.0, job.computed - seconds["image"] - job.planned),  # an image's tiles may overlap
        text=1e3 * seconds["text"],
        image=1e3 * seconds["image"],
        post=1e3 * (now - began),
        total=1e3 * (now - job.accepted),
    )


def _with_rings(segments: Sequence[Segment], simplify: float, check: Callable[[], None]) -> tuple[Segment, ...]:
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


def warnings_of(task: Task, query: tasks.Query, notes: Sequence[Note]) -> tuple[AnswerWarning, ...]:
    """All warnings of an answer; `notes`: what the decoder of the image had to guess."""
    image = tuple(AnswerWarning(note.type, f"image: {note.text}", "image") for note in notes)
    words = warnings_of_words(query.vocabulary, task, reads_phrases=query.segmenter.card.phrases)
    return (*image, *warnings_of_prompts(query), *words, *warnings_about(query))


def absent_labels(segmentation: Segmentation, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Classes without a segment, in their order; none for prompts, which do not search for classes."""
    if segmentation.task in ("prompt", "everything"):
        return ()
    present = {segment.class_index for segment in segmentation.segments}
    absent = [entry for index, entry in enumerate(vocabulary.classes) if index not in present]
    # Stuff has no instances.
    return tuple([entry.name for entry in absent if segmentation.task != "instance" or entry.thing is not False])


def warnings_about(query: tasks.Query) -> tuple[AnswerWarning, ...]:
    """Warnings about words far from all words of training: one for each class, of a named vocabulary one in all."""
    segmenter, vocabulary = query.segmenter, query.vocabulary
    unfamiliar = []
    if vocabulary.classes:
        candidates = unfamiliar_classes(segmenter, vocabulary, query.rows_of, query.bank)
        # A taught class is no guess.
        unfamiliar = [each for each in candidates if not vocabulary.classes[each.class_index].is_taught]
    field, n_alone = "vocabulary", 0
    if vocabulary.name is None:
        field, n_alone = "classes", len(unfamiliar) if len(unfamiliar) <= MAX_WARNINGS else MAX_WARNINGS - 1
    model = segmenter.card.name
    warnings = [unfamiliar_word(each, vocabulary.classes[each.class_index], model) for each in unfamiliar[:n_alone]]
    if rest := [vocabulary.classes[each.class_index].name for each in unfamiliar[n_alone:]]:
        count = f"{len(rest):,} of {len(vocabulary.classes):,} classes"
        listed = ", ".join(map(repr, rest[:5])) + (", ..." if len(rest) > 5 else "")
        reason = f"are far from every word that {model} was trained on; what it marks as these is a guess: {listed}"
        warnings.append(AnswerWarning(UNFAMILIAR, f"{count} {reason}", field))
    return tuple(warnings)


def warnings_of_prompts(query: tasks.Query) -> tuple[AnswerWarning, ...]:
    """One warning where masks are corrected by a model that takes no masks as prompts."""
    if isinstance(query.segmenter, Corrections) or not any(prompt.corrects for prompt in query.options.prompts):
        return ()
    detail = (
        f"{query.segmenter.card.name} takes no masks as prompts: what the points and the box show alone, or the mask's "
        "box, was added to the mask or removed from it"
    )
    return (AnswerWarning(NO_MASK_PROMPTS, detail, "prompts"),)


def warnings_of_words(vocabulary: Vocabulary, task: Task, *, reads_phrases: bool = False) -> tuple[AnswerWarning, ...]:
    """Warnings about a request's own classes that are probably not what was meant; none for a named vocabulary."""
    if vocabulary.name is not None:
        return ()
    kinds: dict[str, list[AnswerWarning]] = {each: [] for each in (TRANSLATED, AMBIGUOUS, *DOUBTS, STUFF)}
    for index, entry in enumerate(vocabulary.classes):
        for kind, detail in _doubts(entry, task, reads_phrases):
            kinds[kind].append(AnswerWarning(kind, detail, f"classes.{index}"))
    return tuple([warning for kind in kinds.values() for warning in kind[:MAX_WARNINGS]])


def _doubts(entry: ClassEntry, task: Task, reads_phrases: bool) -> Iterator[tuple[str, str]]:
    name = entry.name
    if entry.read_as:
        yield TRANSLATED, f"{name!r} was read as {', '.join(map(repr, entry.read_as))}: `language` {ENGLISH} keeps it"
    if entry.also:
        yield AMBIGUOUS, ambiguity(name, entry.also)
    read = name if entry.named and not entry.is_taught else ""
    for kind, (pattern, detail) in DOUBTS.items():
        if re.search(pattern, read) and not (reads_phrases and kind == RELATION):
            yield kind, f"{name!r} {detail}"
    if task == "instance" and entry.thing is False:
        yield STUFF, f"{name!r} has no instances, so none was looked for; ask for semantic or panoptic"


def ambiguity(name: str, also: Sequence[tuple[str, str]]) -> str:
    meanings = " and ".join(f"{name_of(code)} for {meaning!r}" for code, meaning in also)
    codes = " or ".join(code for code, _ in also)
    return f"{name!r} was read as English, and is {meanings}, too: `language` decides ({codes}, or {ENGLISH})"


def unfamiliar_word(word: Unfamiliar, entry: ClassEntry, model: str) -> AnswerWarning:
    name = entry.name
    if word.is_foreign:
        hint = f" (the nearest word of training is {word.nearest!r})" if word.nearest else ""
        script = script_of(name)
        looks = f"is written in {script}" if script else "does not look like an English word"
        others = f", and by translation {', '.join(entry.tried)}" if entry.tried else ""
        reason = f"{name!r} {looks}, and {model} reads English{others}"
    else:
        reason = f"{name!r} is far from every word that {model} was trained on"
        hint = (
            f" (the nearest is {word.nearest!r} with a likeness of {word.likeness:.2f}, familiar words have "
            f"{word.bound:.2f})"
        )
    return AnswerWarning(UNFAMILIAR, f"{reason}; what it marks is a guess{hint}", f"classes.{word.class_index}")
