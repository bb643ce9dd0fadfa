"""The classes that a command asks for, where the work is done in its own process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lexiseg_model.types import Vocabulary
from lexiseg_service.errors import UrlFetchOff
from lexiseg_service.gateway.by_example import ExampleDesk
from lexiseg_service.gateway.use_case import named_vocabulary
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.examples import ClassExample, examples_of
from lexiseg_service.question.messages import Exemplified, WorkerRequest
from lexiseg_service.question.schemas import Question as RestQuestion
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

if TYPE_CHECKING:  # brings torch
    from lexiseg_service.worker.engine import Engine


class _HereBackend:
    """As much of a backend as examples need, over an engine of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        """The engine's."""
        return await asyncio.wrap_future(self._engine.exemplify(request))


def shown_here(
    engine: Engine, vocabulary: Vocabulary, question: RestQuestion, model: str, settings: Settings
) -> Vocabulary:
    """A vocabulary with what the engine's model makes of the examples of its classes.

    Raises:
        ServiceError: an example is not as expected.
    """

    async def no_urls(_: str, client: str) -> bytes:
        raise UrlFetchOff("image.url: give the file itself")

    async def looked_at() -> Vocabulary:
        examples = examples_of(question.classes, settings.limits)
        if question.vocabulary is not None:
            examples = await _kept_examples(question.vocabulary, settings)
        if not examples:
            return vocabulary
        request = WorkerRequest(None, vocabulary, model, max_side=question.max_side)
        desk = ExampleDesk(_HereBackend(engine), settings.limits, no_urls)
        return (await desk.with_examples(request, examples)).vocabulary

    return asyncio.run(looked_at())


async def _kept_examples(name: str, settings: Settings) -> tuple[ClassExample, ...]:
    vocabularies = open_vocabularies(settings, Metrics())
    try:
        return (await vocabularies.find(name)).examples
    finally:
        await vocabularies.store.close()


def resolved(question: RestQuestion, settings: Settings) -> Vocabulary:
    """The vocabulary of a question: its own classes, or those of the list that it names.

    Raises:
        ServiceError: the classes or a value are not as expected, or there is no such list.
    """

    async def named() -> Vocabulary | None:
        vocabularies = open_vocabularies(settings, Metrics())
        try:
            named = await named_vocabulary(question, vocabularies)
            return None if named is None else named.vocabulary
        finally:
            await vocabularies.store.close()

    return resolve(question, settings.limits, asyncio.run(named()) if question.vocabulary else None)
