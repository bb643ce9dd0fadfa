"""The classes that a command asks for, where the work is done in its own process."""

from __future__ import annotations

import asyncio

from lexiseg_model.types import Vocabulary
from lexiseg_service.gateway.state import open_vocabularies
from lexiseg_service.gateway.use_case import named_vocabulary
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.schemas import Question as RestQuestion
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics


def resolved(question: RestQuestion, settings: Settings) -> Vocabulary:
    """The vocabulary of a question: its own classes, or those of the list that it names.

    Raises:
        ServiceError: the classes or a value are not as expected, or there is no such list.
    """

    async def named() -> Vocabulary | None:
        vocabularies = open_vocabularies(settings, Metrics())
        try:
            return await named_vocabulary(question, vocabularies)
        finally:
            await vocabularies.store.close()

    return resolve(question, settings.limits, asyncio.run(named()) if question.vocabulary else None)
