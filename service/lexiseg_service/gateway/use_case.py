"""Segmenting one image: the checks and the relay that every protocol of the gateway shares."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lexiseg_model.errors import UnknownModelError
from lexiseg_model.types import ModelCard, ModelName, Prompt, Task, Vocabulary
from lexiseg_service.errors import InvalidValue, NotReady, ServiceError, UnknownModel, UrlFetchOff
from lexiseg_service.fleet.rollouts import Rollouts
from lexiseg_service.gateway.by_example import ExampleDesk
from lexiseg_service.image.header import read_header
from lexiseg_service.image.id import image_id_of
from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.backend import Backend, Health
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.examples import examples_of, has_examples
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompt_bounds import check_inside
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Shares
from lexiseg_service.vocabularies.collection import Vocabularies
from lexiseg_service.vocabularies.schemas import VocabularyInput


@dataclass(frozen=True)
class Caller:
    """Who asks, by any protocol: the id of an API key, who counts for a limit, an id for the log, a trace, and how
    long it waits."""

    owner: str = ""
    client: str = ""  # key or address, as the limits count them; the worker's turns are theirs
    request_id: str = ""
    traceparent: str | None = None
    seconds: float = float("inf")


class UseCase:
    """What a gateway does for its callers. No fetcher: no images by URL; without room, these are not counted."""

    def __init__(
        self,
        backend: Backend,
        vocabularies: Vocabularies,
        settings: Settings,
        fetcher: UrlFetcher | None = None,
        rollouts: Rollouts | None = None,
        room: Shares | None = None,
    ) -> None:
        self._backend = backend
        self._vocabularies = vocabularies
        self._settings = settings
        self._fetcher = fetcher
        self._rollouts = rollouts or Rollouts()
        self._room = room
        self._desk = ExampleDesk(backend, settings.limits, self.fetched)

    @property
    def backend(self) -> Backend:
        """Where the work goes."""
        return self._backend

    async def segment(self, asked: Asked, caller: Caller) -> WorkerAnswer:
        """Check a request, read its image's header, set its deadline, and have it answered.

        Raises:
            ServiceError: of any kind; the message is for the client.
        """
        deadline = time.monotonic() + min(self._settings.deadline_seconds, caller.seconds)
        request = await self.resolved(asked.question, caller, asked)
        image = asked.image if asked.image_url is None else await self.fetched(asked.image_url, caller.client)
        size = None
        if image is not None:
            size = (await asyncio.to_thread(read_header, image, self._settings.limits)).size
            check_inside(request.prompts, size)
        whole = replace(request, image=image, image_id=asked.image_id, deadline=deadline, size=size)
        return await self._backend.segment(await self.with_examples(asked.question, whole))

    async def size_of_frame(self, image: bytes) -> tuple[int, int]:
        """Height and width of a frame as shown; zeros for one that is refused: its stream goes on."""
        with suppress(ServiceError):
            return (await asyncio.to_thread(read_header, image, self._settings.limits)).size
        return 0, 0

    async def with_examples(self, question: Question, request: WorkerRequest) -> WorkerRequest:
        """A resolved request whose classes hold what the model makes of their examples.

        Raises:
            ServiceError: of any kind; the message is for the client.
        """
        if question.vocabulary is not None:
            examples = (await self._vocabularies.find(question.vocabulary, request.owner)).examples
        elif has_examples(question.classes):
            examples = await asyncio.to_thread(examples_of, question.classes, self._settings.limits)
        else:
            return request
        if not examples:
            return request
        return replace(request, vocabulary=await self._desk.shown(examples, request))

    async def kept(self, class_list: VocabularyInput, caller: Caller) -> VocabularyInput:
        """A class list whose examples have been looked at, and stand on their own.

        Raises:
            ServiceError: of any kind; the message is for the client.
        """
        if not has_examples(class_list.classes):
            return class_list
        card = find_card(self._settings.default_model, self._backend.cards())
        deadline = time.monotonic() + min(self._settings.deadline_seconds, caller.seconds)
        request = WorkerRequest(
            image=None,
            vocabulary=Vocabulary(()),
            model=card.name,
            deadline=deadline,
            owner=caller.owner,
            source=caller.client,
            request_id=caller.request_id,
            traceparent=caller.traceparent,
        )
        return await self._desk.kept(class_list, request)

    async def resolved(self, question: Question, caller: Caller, asked: Asked | None = None) -> WorkerRequest:
        """A question, checked, with its model and its classes found, still without an image.

        Args:
            question: what is asked.
            caller: who asks.
            asked: the same question with its image; None of a video, whose caller gets one version throughout.

        Raises:
            InvalidValue: a value is out of range.
            UnknownModel: no such model.
            UnknownVocabulary: no such vocabulary.
        """
        named = question.model or self._settings.default_model
        card = find_card(named, self._backend.cards())
        if named is None or ModelName.parse(named).version is None:
            rollout = self._rollouts.of(card.name)
            if rollout is not None:
                drawn = caller.client
                if asked is not None and rollout.by == "image":
                    drawn = await _image_of(asked)
                cards, awaited = self._backend.cards(), self._backend.health().awaited
                card = self._rollouts.card(rollout, cards, drawn, awaited) or card
                named = str(ModelName.of(card))
        task = question.task or ("prompt" if question.prompts else "semantic")
        if task not in card.tasks:
            able = [other.name for other in self._backend.cards() if task in other.tasks]
            who = f"models that can {task}: {', '.join(able)}" if able else f"no model here can {task}"
            raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name} ({who})")
        if question.simplify and question.mask != "polygon":
            raise InvalidValue.of(
                "simplify", question.simplify, f"0 with mask={question.mask}; only polygons have sides"
            )
        named_list = await named_vocabulary(question, self._vocabularies, caller.owner)
        prompts, vocabulary = self._checked(question, task, named_list, in_video=asked is None)
        return WorkerRequest(
            image=None,
            owner=caller.owner,
            source=caller.client,
            vocabulary=vocabulary,
            # A version that was asked for is told on: workers may have different ones.
            model=card.name if named is None or ModelName.parse(named).version is None else str(ModelName.of(card)),
            task=task,
            prompts=prompts,
            mask=question.mask,
            overlay=question.overlay,
            confidence=question.confidence,
            refine=question.refine,
            threshold=question.threshold,
            max_side=question.max_side,
            simplify=question.simplify,
            request_id=caller.request_id,
            traceparent=caller.traceparent,
        )

    def _checked(
        self, question: Question, task: Task, named_list: Vocabulary | None, *, in_video: bool
    ) -> tuple[tuple[Prompt, ...], Vocabulary]:
        limits = self._settings.limits
        if task == "prompt" and in_video:  # there they come with the frames
            return (), resolve(question, limits, named_list)
        return resolve_prompts(question, task, limits), resolve(question, limits, named_list)

    def models(self) -> list[dict[str, Any]]:
        """Cards as JSON values, with what is loaded of them."""
        return [self._described(card) for card in self._backend.cards()]

    def model(self, name: str) -> dict[str, Any]:
        """One card; `name` may carry a version.

        Raises:
            UnknownModel: no such model.
        """
        cards = self._backend.cards()
        card = _named(name, cards)
        if card is None:
            raise UnknownModel(f"no model {name[:80]!r} here; there is: {', '.join(card.name for card in cards)}")
        return self._described(card)

    def health(self) -> Health:
        """The backend's, with what else works less well than it should."""
        health = self._backend.health()
        held_back = [
            f"{model}: its share waits until it is loaded" for model in self._rollouts.held_back(health.awaited)
        ]
        return replace(
            health, degraded=(*health.degraded, *held_back, *filter(None, [self._vocabularies.store.degraded()]))
        )

    def _described(self, card: ModelCard) -> dict[str, Any]:
        digest = self._backend.digest(str(ModelName.of(card)))
        return {**card.model_dump(mode="json"), "digest": digest, "loaded": digest is not None}

    async def fetched(self, url: str, client: str) -> bytes:
        """The image at a URL, under the guards of the settings, for a client. Its bytes are counted until the
        task that asks for it is over.

        Raises:
            UrlFetchOff: the service fetches none.
            QueueFull: there was no room for it.
            RateLimited: the client itself held the room.
            ServiceError: the URL is not one that is asked, or there is no image.
        """
        if self._fetcher is None:
            raise UrlFetchOff(
                "image.url: this service fetches no images (LEXISEG_URL_FETCH is off); send the file itself"
            )
        fetcher = self._fetcher
        return await self.in_room(client, lambda: fetcher.fetch(url, client))

    async def in_room(self, client: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `fetch` gives; its bytes are counted until the current task is over.

        Raises:
            QueueFull: other clients hold the room for it.
            RateLimited: the client itself does.
        """
        if self._room is None:
            return await fetch()
        # Its size is unknown before it has come.
        hold = await self._room.wait(client, self._settings.limits.max_image_bytes, self._settings.deadline_seconds)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: hold.release())
        size = 0
        try:
            content = await fetch()
            size = len(content)
            return content
        finally:
            hold.keep(size)


async def _image_of(asked: Asked) -> str:
    """The id of an image, the same whether it is sent or known; of one by URL, the URL."""
    if asked.image is None:
        return asked.image_id or asked.image_url or ""
    return await asyncio.to_thread(image_id_of, asked.image)


async def named_vocabulary(question: Question, vocabularies: Vocabularies, key: str = "") -> Vocabulary | None:
    """The vocabulary that a question of a key names, if it names one.

    Raises:
        InvalidValue: it brings classes of its own, too.
        UnknownVocabulary: there is none of that name.
    """
    if question.vocabulary is None:
        return None
    if question.classes is not None:
        raise InvalidValue.of("vocabulary", question.vocabulary, "either `classes` or `vocabulary`, not both")
    return (await vocabularies.find(question.vocabulary, key)).vocabulary


def find_card(name: str | None, cards: list[ModelCard]) -> ModelCard:
    """The card of NAME or NAME@VERSION; None is the default model, which comes first.

    Raises:
        UnknownModel: there is none of that name.
        NotReady: no worker has told of any.
    """
    if not cards:
        raise NotReady("no model is known here yet")
    if name is None:
        return cards[0]
    card = _named(name, cards)
    if card is None:
        known = ", ".join(str(ModelName.of(card)) for card in cards)
        raise UnknownModel(f"model: no {name[:80]!r} here; there is: {known}")
    return card


def _named(name: str, cards: list[ModelCard]) -> ModelCard | None:
    """The first card that a name fits; none where it is no name at all, as `tiny@`."""
    try:
        wanted = ModelName.parse(name)
    except UnknownModelError:
        return None
    return next((card for card in cards if wanted.fits(card)), None)
