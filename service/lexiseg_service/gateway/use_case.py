"""Segment one image: the checks before the call to a worker, shared by all protocols of the gateway.

question, image -> head, model, vocabulary, prompts -> image header -> examples -> worker -> answer
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import UnknownModelError
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import ClassEntry, Prompt, Task, Vocabulary
from lexiseg_service.errors import InvalidValue, NotReady, SwitchedOff, UnknownModel
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.by_example import ExampleDesk
from lexiseg_service.gateway.image_requests import Fetching
from lexiseg_service.gateway.phrases import answer_by_kind
from lexiseg_service.gateway.vocabularies.collection import Vocabularies
from lexiseg_service.gateway.vocabularies.named import NamedVocabulary
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.gateway.waits import Shutdown
from lexiseg_service.image.reader import HeaderReader, Images
from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.question.backend import Backend, Health
from lexiseg_service.question.classes import has_examples, resolve, with_learned
from lexiseg_service.question.messages import ImageSource, WorkerAnswer, WorkerRequest
from lexiseg_service.question.prompts import bytes_of_points, check_inside, examples_of, largest_size, resolve_prompts
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.validation import off_event_loop
from lexiseg_service.records.documents import Documents
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Shares
from lexiseg_service.watch.checks import Checks

NO_IMAGE = ImageSource()
HEADS_ARE_OFF = "heads are off here: nothing of pictures is kept (LEXISEG_FEATURE_CACHE_BYTES=0)"
# Fields of a question that workers get as they are.
PASSED_ON = ("mask", "overlay", "confidence", "refine", "threshold", "doubtful", "max_side", "simplify", "language")


class LearnedClasses(NamedTuple):
    """Classes of a head, the card of the model that they were learned for, and its name with its version."""

    classes: tuple[ClassEntry, ...]
    card: ModelCard
    model: str


Learn = Callable[[str, str | None, Caller], Awaitable[LearnedClasses]]  # of a head's name, and a model's or None


class UseCase:
    """The operations of a gateway, independent of the protocol."""

    def __init__(
        self,
        backend: Backend,
        vocabularies: Vocabularies,
        settings: Settings,
        fetcher: UrlFetcher | None = None,
        fetched_bytes: Shares | None = None,
    ) -> None:
        self.backend = backend
        self.in_flight = 0  # requests of `segment`
        self._vocabularies = vocabularies
        self._settings = settings
        self.fetching = Fetching(settings, fetcher, fetched_bytes)
        self.headers = HeaderReader(settings.limits)
        self.images = Images(self.fetching.fetch, self.headers)
        self._desk = ExampleDesk(backend.exemplify, settings.limits, self.images)
        self.learn: Learn | None = None  # set by the part that keeps heads, before the first question
        self.stores: list[Documents] = [vocabularies.store]
        self.checks = Checks()  # of what is written to
        self.shutdown = Shutdown()

    async def segment(self, question: Question, image: ImageSource, caller: Caller) -> WorkerAnswer:
        """Check a question and the header of its image, and send it to a worker."""
        self.in_flight += 1
        try:
            request = await self.request(question, caller, image)
            phrases = self._settings.phrases_model
            if phrases is not None and question.model is None and question.head is None:
                return await answer_by_kind(self.backend, request, phrases)
            return await self.backend.segment(request)
        finally:
            self.in_flight -= 1

    async def request(
        self, question: Question, caller: Caller, image: ImageSource = NO_IMAGE, *, of_stream: bool = False
    ) -> WorkerRequest:
        began, limits = time.monotonic(), self._settings.limits
        head = None
        if question.head is not None:
            if self.learn is None:
                raise SwitchedOff(HEADS_ARE_OFF)
            head = await self.learn(question.head, question.model, caller)
        card, model = self._model(question) if head is None else (head.card, head.model)
        task = question.task or ("prompt" if question.prompts else "semantic")
        self._check_task(task, card)
        if question.refine not in (None, *card.refinements):
            expected = f"one of {', '.join(card.refinements)} for model {card.name}"
            raise InvalidValue.of("refine", question.refine, expected)
        if question.simplify and question.mask != "polygon":
            raise InvalidValue.of("simplify", question.simplify, f"0 with mask={question.mask}; it is for polygons")
        named = await named_vocabulary(question, self._vocabularies, caller.owner)
        prompts: tuple[Prompt, ...] = ()
        if (question.prompts or task == "prompt") and not (of_stream and task == "prompt"):
            resolving = partial(resolve_prompts, question, task, limits)
            prompts = await off_event_loop(bytes_of_points(question.prompts or ()), resolving)
        request = WorkerRequest(
            image=None,
            vocabulary=resolve(question, limits, None if named is None else named.vocabulary),
            model=model,
            task=task,
            prompts=prompts,
            **{name: getattr(question, name) for name in PASSED_ON},
            **self.origin(caller, began),
        )
        request = await self.with_image(request, image)
        examples = () if named is None else named.examples
        if has_examples(question.classes):
            examples = await off_event_loop(limits.max_image_bytes, partial(examples_of, question.classes, limits))
        if examples:
            request = await self._desk.with_examples(request, examples)
        if head is None:
            return request
        return replace(request, vocabulary=with_learned(request.vocabulary, head.classes, limits))

    async def with_image(self, request: WorkerRequest, image: ImageSource) -> WorkerRequest:
        """A request with its image. Raises ServiceError: about the image, or a prompt lies outside of it."""
        if not image.is_empty:
            request = await self.images.with_image(request, image, "image")
        if prompts := request.prompts:
            check_inside(prompts, request.size or largest_size(prompts, self._settings.limits))
        return request

    async def stored_form(self, class_list: VocabularyInput, caller: Caller) -> VocabularyInput:
        """The class list as it is stored: each example image is replaced by a small picture inside the list."""
        if not has_examples(class_list.classes):
            return class_list
        model = self.card(self._settings.default_model).name
        request = WorkerRequest(None, Vocabulary(()), model, **self.origin(caller, time.monotonic()))
        return await self._desk.stored_form(class_list, request)

    def origin(self, caller: Caller, began: float) -> dict[str, Any]:
        """The fields of a request about its sender, and its deadline."""
        return {
            "deadline": began + min(self._settings.deadline_seconds, caller.seconds),
            "owner": caller.owner,
            "source": caller.client,
            "background": caller.background,
            "request_id": caller.request_id,
            "traceparent": caller.traceparent,
        }

    def models(self) -> list[dict[str, Any]]:
        return [self._described(card) for card in self.backend.cards()]

    def model(self, name: str) -> dict[str, Any]:
        return self._described(self.card(name))

    def health(self) -> Health:
        health = self.backend.health()
        return replace(health, degraded=(*health.degraded, *self.checks.degraded))

    def _model(self, question: Question) -> tuple[ModelCard, str]:
        """The card for a request, and the model name for workers: with the version, if the request names one."""
        named = question.model or self._settings.default_model
        card = self.card(named)
        has_version = named is not None and "@" in named
        return card, str(ModelName.from_card(card)) if has_version else card.name

    def _check_task(self, task: Task, card: ModelCard) -> None:
        if task in card.tasks:
            return
        able = [other.name for other in self.backend.cards() if task in other.tasks]
        who = f"{task}: {', '.join(able)}" if able else f"no model here has the task {task}"
        raise InvalidValue.of("task", task, f"one of {', '.join(card.tasks)} for model {card.name} ({who})")

    def card(self, name: str | None) -> ModelCard:
        """The card of NAME or NAME@VERSION, or of the default model; raises as `find_card`."""
        return find_card(name, self.backend.cards())

    def _described(self, card: ModelCard) -> dict[str, Any]:
        digest = self.backend.digest(str(ModelName.from_card(card)))
        return {**card.model_dump(mode="json"), "digest": digest, "loaded": digest is not None}


async def named_vocabulary(question: Question, vocabularies: Vocabularies, key: str = "") -> NamedVocabulary | None:
    """The vocabulary that a question names, of the ones visible to `key`; None if it names none."""
    if question.vocabulary is None:
        return None
    if question.classes is not None:
        raise InvalidValue.of("vocabulary", question.vocabulary, "either `classes` or `vocabulary`, not both")
    return await vocabularies.find(question.vocabulary, key)


def find_card(name: str | None, cards: list[ModelCard]) -> ModelCard:
    """The card of NAME or NAME@VERSION; None is the default model, which comes first."""
    if not cards:
        raise NotReady("no model is known here yet")
    if name is None:
        return cards[0]
    with suppress(UnknownModelError):  # the text is no model name, as `tiny@`
        model_name = ModelName.parse(name)
        for card in cards:
            if model_name.fits(card):
                return card
    raise UnknownModel.among(name, (str(ModelName.from_card(card)) for card in cards))
