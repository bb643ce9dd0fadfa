"""Segmenting one image: the checks and the relay that every protocol of the gateway shares."""

from __future__ import annotations

import time

from model.types import ModelCard, Vocabulary
from service.errors import InvalidValue, UnknownModel, UrlFetchOff
from service.gateway.backend import Backend
from service.gateway.body import Asked
from service.gateway.schemas import Question
from service.gateway.url_fetch import UrlFetcher
from service.gateway.vocabulary import resolve
from service.image_header import read_header
from service.messages import WorkerAnswer, WorkerRequest
from service.settings import Settings
from service.vocabularies.collection import Vocabularies


async def segment(
    asked: Asked,
    backend: Backend,
    vocabularies: Vocabularies,
    settings: Settings,
    owner: str = "",
    fetcher: UrlFetcher | None = None,
    request_id: str = "",
    traceparent: str | None = None,
) -> WorkerAnswer:
    """Checks a request and has it answered; `owner` is the id of its API key. No fetcher: no images by URL.

    Raises:
        ServiceError: of any kind; the message is for the client.
    """
    deadline = time.monotonic() + settings.deadline_seconds
    question = asked.question
    card = _find_card(question.model or settings.model, backend.cards())
    task = question.task or "semantic"
    if task not in card.tasks:
        able = [other.name for other in backend.cards() if task in other.tasks]
        who = f"models that can: {', '.join(able)}" if able else "no model here can"
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name} ({who} {task})")
    vocabulary = resolve(question, settings.limits, await named_vocabulary(question, vocabularies))
    image = asked.image if asked.image_url is None else await _fetched(asked.image_url, fetcher)
    if image is not None:
        read_header(image, settings.limits)
    return await backend.segment(
        WorkerRequest(
            image=image,
            image_id=asked.image_id,
            owner=owner,
            vocabulary=vocabulary,
            model=card.name,
            task=task,
            mask=question.mask,
            overlay=question.overlay,
            confidence=question.confidence,
            refine=question.refine,
            threshold=question.threshold,
            max_side=question.max_side,
            deadline=deadline,
            request_id=request_id,
            traceparent=traceparent,
        )
    )


async def named_vocabulary(question: Question, vocabularies: Vocabularies) -> Vocabulary | None:
    """The vocabulary that a question names, if it names one.

    Raises:
        InvalidValue: it brings classes of its own, too.
        UnknownVocabulary: there is none of that name.
    """
    if question.vocabulary is None:
        return None
    if question.classes is not None:
        raise InvalidValue.of("vocabulary", question.vocabulary, "either `classes` or `vocabulary`, not both")
    return (await vocabularies.find(question.vocabulary)).vocabulary


async def _fetched(url: str, fetcher: UrlFetcher | None) -> bytes:
    if fetcher is None:
        raise UrlFetchOff("image.url: this service fetches no images (LEXISEG_URL_FETCH is off); send the file itself")
    return await fetcher.fetch(url)


def _find_card(name: str, cards: list[ModelCard]) -> ModelCard:
    base, _, version = name.partition("@")
    for card in cards:
        if card.name == base and version in ("", card.version):
            return card
    known = ", ".join(f"{card.name}@{card.version}" for card in cards)
    raise UnknownModel(f"model: no {name[:80]!r} here; there is: {known}")
