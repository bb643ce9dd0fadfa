"""The model and the vocabularies of a command that computes in its own process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lexiseg_client import AnswerWarning, CacheUse, Segment, Segmentation, Timings
from lexiseg_client.segments import RunLengths
from lexiseg_model import catalogue
from lexiseg_model import types as model_types
from lexiseg_model.types import ModelCard, Task, Vocabulary
from lexiseg_service.errors import InvalidValue, UrlFetchOff
from lexiseg_service.gateway.by_example import ExampleDesk
from lexiseg_service.gateway.use_case import named_vocabulary
from lexiseg_service.gateway.vocabularies.collection import Vocabularies, open_vocabularies
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.messages import Exemplified, WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompts import examples_of
from lexiseg_service.question.schemas import Question as RestQuestion
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # they import torch
    from lexiseg_model.segmenter import Segmenter
    from lexiseg_service.worker.engine import Engine

T = TypeVar("T")


def check_model(settings: Settings, task: Task) -> None:
    """Refuse a model that does not exist or cannot do a task, from its card alone; nothing heavy is imported.

    Raises:
        ModelError: there is no such model, or its card is damaged.
        InvalidValue: it cannot do the task.
    """
    _require_task(catalogue.find(settings.default_model or settings.model, settings.models_dir).card, task)


def load(settings: Settings, task: Task) -> Segmenter:
    """The model of the settings, which can do a task.

    Raises:
        ModelError: it cannot be loaded.
        InvalidValue: it cannot do the task.
    """
    segmenter = load_as_served(settings, settings.default_model or settings.model)
    _require_task(segmenter.card, task)
    return segmenter


def load_as_served(settings: Settings, name: str) -> Segmenter:
    """A model on the device, in the precision and by the runtime of the settings.

    Raises:
        ModelError: it cannot be loaded.
    """
    return catalogue.load(
        name,
        models_dir=settings.models_dir,
        device=settings.device,
        precision=settings.precision,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )


def _require_task(card: ModelCard, task: Task) -> None:
    if task not in card.tasks:
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name}")


def named_or_folder(settings: Settings, name: str) -> Segmenter:
    """A model by its name, NAME@VERSION, or the path of its directory.

    Raises:
        ModelError: it cannot be loaded.
    """
    if (Path(name) / catalogue.CARD).is_file():
        return catalogue.load_folder(Path(name), settings.device, text_tower=settings.text_tower)
    return catalogue.load(
        name,
        models_dir=settings.models_dir,
        device=settings.device,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )


def with_vocabularies(settings: Settings, work: Callable[[Vocabularies], Awaitable[T]]) -> T:
    """What `work` makes of the installation's vocabularies, whose store is closed afterwards."""

    async def run() -> T:
        vocabularies = open_vocabularies(settings, Metrics())
        try:
            return await work(vocabularies)
        finally:
            await vocabularies.store.close()

    return asyncio.run(run())


def resolved(question: RestQuestion, settings: Settings) -> Vocabulary:
    """The vocabulary of a question: its own classes, or those of the list that it names.

    Raises:
        ServiceError: the classes or a value are not as expected, or there is no such list.
    """
    named = None
    if question.vocabulary:
        named = with_vocabularies(settings, lambda vocabularies: named_vocabulary(question, vocabularies))
    return resolve(question, settings.limits, None if named is None else named.vocabulary)


def exemplified(
    engine: Engine, vocabulary: Vocabulary, question: RestQuestion, model: str, settings: Settings
) -> Vocabulary:
    """A vocabulary with the vectors that the engine's model computes for the examples of its classes.

    Raises:
        ServiceError: an example is not as expected.
    """
    examples = examples_of(question.classes, settings.limits)
    if (name := question.vocabulary) is not None:
        examples = with_vocabularies(settings, lambda vocabularies: vocabularies.find(name)).examples
    if not examples:
        return vocabulary

    async def no_urls(_: str, client: str) -> bytes:
        raise UrlFetchOff("image.url: give the file itself")

    request = WorkerRequest(None, vocabulary, model, max_side=question.max_side)
    desk = ExampleDesk(_EngineBackend(engine), settings.limits, no_urls)
    return asyncio.run(desk.with_examples(request, examples)).vocabulary


class _EngineBackend:
    """The part of a backend that examples need, over an engine of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        """The engine's rows for regions of one image."""
        return await asyncio.wrap_future(self._engine.exemplify(request))


def segmentation_of(answer: WorkerAnswer, track_ids: tuple[int | None, ...] = ()) -> Segmentation:
    """An engine's answer as the client's, which the commands write and show."""
    numbers = track_ids or (None,) * len(answer.segments)
    times, cache = answer.timings, answer.cache
    return Segmentation(
        id=answer.image_id,
        image_id=answer.image_id,
        model=answer.model,
        model_digest=answer.model_digest,
        task=answer.task,
        size=answer.size,
        segments=tuple(segment_of(*pair) for pair in zip(answer.segments, numbers, strict=True)),
        timings_ms=Timings(times.decode, times.queue, times.text, times.image, times.post, times.total),
        cache=CacheUse(cache.text_hits, cache.text_misses, cache.features),
        overlay=answer.overlay,
        absent=answer.absent,
        warnings=tuple(AnswerWarning(each.type, each.detail, each.field) for each in answer.warnings),
    )


def segment_of(segment: model_types.Segment, track_id: int | None = None) -> Segment:
    """A model's segment as the client's."""
    return Segment(
        id=segment.id,
        label=segment.label,
        class_index=segment.class_index,
        score=segment.score,
        area=segment.area,
        bbox=segment.bbox,
        shape=RunLengths(segment.mask.size, segment.mask.counts),
        prompt_index=segment.prompt_index,
        mask_index=segment.mask_index,
        quality=segment.quality,
        is_thing=segment.is_thing,
        track_id=track_id,
    )
