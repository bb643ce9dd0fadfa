"""The model and the vocabularies of a command that computes in its own process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lexiseg_model import catalogue
from lexiseg_model.types import ModelCard, Task, Vocabulary
from lexiseg_service.errors import InvalidValue, UrlFetchOff
from lexiseg_service.gateway.by_example import ExampleDesk
from lexiseg_service.gateway.use_case import named_vocabulary
from lexiseg_service.gateway.vocabularies.collection import with_vocabularies
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.messages import Exemplified, WorkerRequest
from lexiseg_service.question.prompts import examples_of
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # they import torch
    from lexiseg_model.segmenter import Segmenter
    from lexiseg_service.worker.engine import Engine


def check_model(settings: Settings, task: Task) -> None:
    """Refuse a model that is not there or cannot do a task, from its card alone; torch is not imported.

    Raises:
        ModelError: there is no such model, or its card is damaged.
        InvalidValue: it cannot do the task.
    """
    _require_task(catalogue.find(settings.default_model or settings.model, settings.models_dir).card, task)


def load(settings: Settings, task: Task) -> Segmenter:
    """Load the model of the settings, which can do a task; its card is checked before torch is imported.

    Raises:
        ModelError: it cannot be loaded.
        InvalidValue: it cannot do the task.
    """
    check_model(settings, task)
    from lexiseg_service.worker.models import served  # imports torch

    segmenter = served.load(settings.default_model or settings.model, settings)
    _require_task(segmenter.card, task)
    return segmenter


@contextmanager
def engine_of(settings: Settings, task: Task) -> Iterator[tuple[Engine, Segmenter]]:
    """An engine with the model of the settings while the block runs; what is in flight at its end is dropped.

    Raises:
        ModelError: the model cannot be loaded.
        InvalidValue: it cannot do the task.
    """
    segmenter = load(settings, task)
    from lexiseg_service.worker.engine import Engine  # imports torch: after all checks

    engine = Engine(segmenter, settings, Metrics())
    try:
        yield engine, segmenter
    finally:
        engine.close(0)


def _require_task(card: ModelCard, task: Task) -> None:
    if task not in card.tasks:
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name}")


def is_folder(name: str) -> bool:
    """Whether a model is named by the path of its directory."""
    return (Path(name) / catalogue.CARD).is_file()


def check_named(settings: Settings, *names: str) -> None:
    """Refuse models that are not there, each NAME, NAME@VERSION or a directory, before one is loaded.

    Raises:
        ModelError: there is no such model, its card is damaged, or its weights cannot be had.
    """
    for name in names:
        if not is_folder(name):
            catalogue.require(name, settings.models_dir, settings.text_tower)


def named_or_folder(settings: Settings, name: str) -> Segmenter:
    """Load a model by NAME, NAME@VERSION or the path of its directory.

    Raises:
        ModelError: it cannot be loaded.
    """
    if is_folder(name):
        return catalogue.load_folder(Path(name), settings.device, text_tower=settings.text_tower)
    return catalogue.load(
        name,
        models_dir=settings.models_dir,
        device=settings.device,
        runtime=settings.runtime,
        text_tower=settings.text_tower,
    )


def resolved(question: Question, settings: Settings) -> Vocabulary:
    """The vocabulary of a question: its own classes, or those of the list that it names.

    Raises:
        ServiceError: the classes or a value are not as expected, or there is no such list.
    """
    named = None
    if question.vocabulary:
        named = with_vocabularies(settings, lambda vocabularies: named_vocabulary(question, vocabularies))
    return resolve(question, settings.limits, None if named is None else named.vocabulary)


def exemplified(
    engine: Engine, vocabulary: Vocabulary, question: Question, model: str, settings: Settings
) -> Vocabulary:
    """Add the vectors that the engine's model computes for the examples of a vocabulary's classes.

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

    async def exemplify(request: WorkerRequest) -> Exemplified:
        return await asyncio.wrap_future(engine.exemplify(request))

    request = WorkerRequest(None, vocabulary, model, max_side=question.max_side)
    desk = ExampleDesk(exemplify, settings.limits, no_urls)
    return asyncio.run(desk.with_examples(request, examples)).vocabulary
