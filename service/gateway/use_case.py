"""Segmenting one image: the checks and the relay that every protocol of the gateway shares."""

from __future__ import annotations

import time

from model.types import ModelCard
from service.errors import InvalidValue, UnknownModel
from service.gateway.backend import Backend
from service.gateway.body import Asked
from service.gateway.vocabulary import resolve
from service.image_header import read_header
from service.messages import WorkerAnswer, WorkerRequest
from service.settings import Settings


async def segment(asked: Asked, backend: Backend, settings: Settings) -> WorkerAnswer:
    """Checks a request and has it answered.

    Raises:
        ServiceError: of any kind; the message is for the client.
    """
    question = asked.question
    card = _find_card(question.model or settings.model, backend.cards())
    task = question.task or "semantic"
    if task not in card.tasks:
        able = [other.name for other in backend.cards() if task in other.tasks]
        who = f"models that can: {', '.join(able)}" if able else "no model here can"
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name} ({who} {task})")
    vocabulary = resolve(question, settings.limits)
    read_header(asked.image, settings.limits)
    return await backend.segment(
        WorkerRequest(
            image=asked.image,
            vocabulary=vocabulary,
            model=card.name,
            task=task,
            mask=question.mask,
            overlay=question.overlay,
            threshold=question.threshold,
            max_side=question.max_side,
            deadline=time.monotonic() + settings.deadline_seconds,
        )
    )


def _find_card(name: str, cards: list[ModelCard]) -> ModelCard:
    base, _, version = name.partition("@")
    for card in cards:
        if card.name == base and version in ("", card.version):
            return card
    known = ", ".join(f"{card.name}@{card.version}" for card in cards)
    raise UnknownModel(f"model: no {name[:80]!r} here; there is: {known}")
