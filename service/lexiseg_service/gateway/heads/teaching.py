"""Create and change heads: classes, pictures -> model -> lessons by workers -> solved head in the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, BinaryIO

from lexiseg_model.errors import UnknownModelError
from lexiseg_model.types import ModelCard, ModelName, Vocabulary
from lexiseg_service.errors import InvalidValue, ModelChanged, SwitchedOff, UnknownModel
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.heads.archive import ArchiveDesk
from lexiseg_service.gateway.heads.collection import OFF, Change, Heads
from lexiseg_service.gateway.heads.export import ImportedHead
from lexiseg_service.gateway.heads.head import NamedHead
from lexiseg_service.gateway.heads.lessons import LessonDesk, classes_of, pictures_of, with_classes_of
from lexiseg_service.gateway.heads.schemas import HeadInput
from lexiseg_service.gateway.image_requests import Images
from lexiseg_service.gateway.preconditions import UNCONDITIONAL, Preconditions
from lexiseg_service.gateway.stores import Store
from lexiseg_service.question.backend import Backend
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Settings

Origin = Callable[[Caller, float], dict[str, Any]]


class Teaching:
    """The operations on heads, independent of the protocol.

    Args:
        heads: by name; None: they are switched off.
        backend: the workers.
        settings: limits and default model.
        images: puts images into requests.
        origin: the fields of a request about its sender, which began at a time.
        card_of: the card of NAME or NAME@VERSION, or of the default model; raises UnknownModel.
    """

    def __init__(
        self,
        heads: Heads | None,
        backend: Backend,
        settings: Settings,
        images: Images,
        origin: Origin,
        card_of: Callable[[str | None], ModelCard],
    ) -> None:
        self._heads = heads
        self._backend = backend
        self._settings = settings
        self._lessons = LessonDesk(backend.teach, settings.limits, images)
        self._archives = ArchiveDesk(settings.state_dir or settings.trainings)
        self._origin = origin
        self._find_card = card_of

    @property
    def heads(self) -> Heads:
        """The heads by name. Raises SwitchedOff: there are none here."""
        if self._heads is None:
            raise SwitchedOff(OFF)
        return self._heads

    @property
    def stores(self) -> list[Store]:
        """Where heads are kept; none if they are switched off."""
        return [] if self._heads is None else [self._heads.store]

    async def delete_all(self, caller: Caller) -> int:
        """Delete all heads that the caller's key made, without keys all; returns their number.

        Raises:
            NotReady: the store takes no writes now.
        """
        return 0 if self._heads is None else await self._heads.delete_all(caller.owner)

    async def teach(
        self,
        name: str,
        asked: HeadInput,
        caller: Caller,
        archive: BinaryIO | None = None,
        preconditions: Preconditions = UNCONDITIONAL,
        *,
        is_new: bool = False,
    ) -> NamedHead:
        """Create or change a head by reviewed pictures: those of a request, and of an archive in any layout.

        Raises:
            NameTaken: a new head is wanted, and there is one of the name.
            PreconditionFailed: it has another version than expected.
            ModelChanged: the model that it was taught on is gone, or has other weights.
            ServiceError: of any kind; the message is for the client.
        """
        began, limits = time.monotonic(), self._settings.limits
        if asked.name not in (None, name):
            raise InvalidValue.of("name", asked.name, f"{name!r}, as in the path")
        before = await self.heads.before(name, caller.owner, preconditions, is_new=is_new)
        if before is None:
            card = self._find_card(self._settings.default_model if asked.model is None else asked.model)
        else:
            card = self._card_of(before, asked.model)
        origin = self._origin(caller, began)
        reviewed = None
        if archive is not None:
            reviewed = await self._archives.read(archive, caller.client, origin["deadline"])
            asked = with_classes_of(asked, reviewed)
        classes = classes_of(asked, () if before is None else before.classes, limits)
        model = str(ModelName.from_card(card))
        pictures = await self._lessons.read(asked, classes)
        if reviewed is not None:
            pictures += pictures_of(reviewed, classes)
        lessons = await self._lessons.lessons(pictures, WorkerRequest(None, Vocabulary(()), model, **origin))
        change = Change(model, classes, lessons, asked.remove, preconditions=preconditions)
        return await self.heads.change(name, caller.owner, change, is_new=is_new)

    async def import_head(
        self, name: str, imported: ImportedHead, caller: Caller, preconditions: Preconditions = UNCONDITIONAL
    ) -> NamedHead:
        """Keep an exported head in place of the one that has its name.

        Raises:
            PreconditionFailed: the head of the name has another version than expected.
            ModelChanged: its model is not served, or has other weights.
            ServiceError: of any kind; the message is for the client.
        """
        await self.heads.before(name, caller.owner, preconditions)
        model = str(ModelName.from_card(self._card(name, imported.model)))
        digest = self._backend.digest(model)
        change = Change(
            model, imported.classes, imported.lessons, whole=True, digest=digest, preconditions=preconditions
        )
        return await self.heads.change(name, caller.owner, change, is_new=False)

    async def pinned(self, question: Question, caller: Caller) -> Question:
        """A question that is asked again and again, with the version of its head: its classes must stay the same.

        Raises:
            SwitchedOff, UnknownHead: there is no such head.
        """
        if question.head is None:
            return question
        head = await self.heads.find(question.head, caller.owner)
        return question.model_copy(update={"head": head.exact_name})

    def model_of(self, head: NamedHead, named: str | None) -> tuple[ModelCard, str]:
        """The card of a head's model, and the model's name with its version, for a question that may name a model, too.

        Raises:
            InvalidValue: it names another model.
            ModelChanged: the model is not served any more, or has other weights.
        """
        card = self._card_of(head, named)
        if self._backend.digest(head.model) not in (None, head.solved.digest):
            weights = f"other weights of {head.model} than are served now"
            raise ModelChanged(f"head: {head.name!r} was taught on {weights}; send its pictures again")
        return card, head.model

    def _card_of(self, head: NamedHead, named: str | None) -> ModelCard:
        card = self._card(head.name, head.model)
        if named is not None and not _fits(named, card):
            raise InvalidValue.of("model", named, f"{head.model}, on which the head was taught, or no model")
        return card

    def _card(self, head: str, model: str) -> ModelCard:
        try:
            return self._find_card(model)
        except UnknownModel as error:
            gone = f"{model}, which is not served here"
            raise ModelChanged(f"head: {head!r} was taught on {gone} ({error.detail})") from None


def _fits(named: str, card: ModelCard) -> bool:
    try:
        return ModelName.parse(named).fits(card)
    except UnknownModelError:  # the text is no model name, as `tiny@`
        return False
