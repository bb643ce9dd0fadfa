"""Create and change heads, and give questions what they have learned.

classes, pictures -> model -> lessons by workers -> solved head in the store -> `UseCase.learn`
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import structlog

from lexiseg_model.cards import ModelCard
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import Vocabulary
from lexiseg_service.errors import InvalidValue, ModelChanged, UnknownModel
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.heads.collection import Change, Heads, open_heads
from lexiseg_service.gateway.heads.head import NamedHead
from lexiseg_service.gateway.heads.lessons import (
    classes_of,
    lessons_of,
    pictures_of,
    reviewed_pictures,
    with_classes_of,
)
from lexiseg_service.gateway.heads.next_pictures import Ranked, Source, ranked, sources_in
from lexiseg_service.gateway.heads.reviewed_set import ArchiveDesk
from lexiseg_service.gateway.heads.schemas import HeadInput, NextInput
from lexiseg_service.gateway.preconditions import UNCONDITIONAL, Preconditions
from lexiseg_service.gateway.use_case import LearnedClasses, UseCase, find_card
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.question.prompts import source_of
from lexiseg_service.question.schemas import Question
from lexiseg_service.retries import for_ever
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.heads")
SWEEP_SECONDS = 60.0  # between looks for what failed writes left


class Teaching:
    """The operations on heads, independent of the protocol."""

    def __init__(self, heads: Heads, use_case: UseCase, settings: Settings, limits: ClientLimits) -> None:
        self.heads = heads
        self._use_case = use_case
        self._settings = settings
        self._limits = limits
        self._archives = ArchiveDesk(settings.state_dir or settings.trainings)
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    def opened(cls, settings: Settings, use_case: UseCase, access: AccessControl, metrics: Metrics) -> Teaching | None:
        """That of the settings, by which questions find heads; None: heads are switched off."""
        if (heads := open_heads(settings, metrics, use_case.shutdown)) is None:
            return None
        teaching = cls(heads, use_case, settings, access.limits)
        use_case.learn = teaching.learned
        use_case.stores.append(heads.store)
        return teaching

    async def start(self) -> None:
        self._sweeping = asyncio.create_task(for_ever(self._sweep, SWEEP_SECONDS))

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self.heads.close()

    async def _sweep(self) -> None:
        await self.heads.remove_leftovers()
        await asyncio.to_thread(self._archives.remove_leftovers)

    async def remove_leftovers(self, caller: Caller) -> int:
        """Remove what failed writes have left of the caller's pictures; returns the number of lessons and archives."""
        number = await self.heads.remove_leftovers(caller.owner)
        return number + await asyncio.to_thread(self._archives.remove_leftovers, caller.owner)

    async def remove_all(self, caller: Caller) -> int:
        """Delete all heads that the caller's key made, without keys all; returns their number."""
        return await self.heads.delete_all(caller.owner)

    async def teach(
        self,
        name: str,
        body: HeadInput,
        caller: Caller,
        archive: BinaryIO | None = None,
        preconditions: Preconditions = UNCONDITIONAL,
        *,
        is_new: bool = False,
        whole: bool = False,
    ) -> NamedHead:
        """Create or change a head by reviewed pictures; `whole`: nothing of a head that has the name stays."""
        began, limits = time.monotonic(), self._settings.limits
        if body.name not in (None, name):
            raise InvalidValue.of("name", body.name, f"{name!r}, as in the path")
        before = await self.heads.before(name, caller.owner, preconditions, is_new=is_new)
        if before is None or whole:
            card = self._use_case.card(body.model or self._settings.default_model)
        else:
            card = self._card_of(before, body.model)
        origin = self._use_case.origin(caller, began)
        reviewed = None
        if archive is not None:
            reviewed = await self._archives.read(archive, caller, origin["deadline"])
            body = with_classes_of(body, reviewed)
        classes = classes_of(body, () if before is None or whole else before.classes, limits)
        model = str(ModelName.from_card(card))
        pictures = await reviewed_pictures(body, classes, limits)
        if reviewed is not None:
            pictures += pictures_of(reviewed, classes)
        request = WorkerRequest(None, Vocabulary(()), model, **origin)
        lessons = await lessons_of(self._use_case, pictures, request, partial(self._limits.count, caller.client))
        change = Change(
            *(model, classes, lessons, body.remove, whole),
            keep_days=body.keep_days,
            widths=(card.teaching_size, card.fine_size),
            preconditions=preconditions,
            client=caller.client,
            deadline=origin["deadline"],
        )
        head = await self.heads.change(name, caller.owner, change, is_new=is_new)
        return head if reviewed is None else replace(head, left_out=reviewed.warnings)

    async def import_head(
        self, name: str, imported: Change, caller: Caller, preconditions: Preconditions = UNCONDITIONAL
    ) -> NamedHead:
        """Keep an exported head in place of the one that has its name."""
        origin = self._use_case.origin(caller, time.monotonic())
        await self.heads.before(name, caller.owner, preconditions)
        card = self._card(name, imported.model)
        model = str(ModelName.from_card(card))
        change = replace(
            imported,
            model=model,
            digest=self._use_case.backend.digest(model),
            widths=(card.teaching_size, card.fine_size),
            preconditions=preconditions,
            client=caller.client,
            deadline=origin["deadline"],
        )
        return await self.heads.change(name, caller.owner, change, is_new=False)

    async def next_pictures(
        self, name: str, body: NextInput, caller: Caller, archive: BinaryIO | None = None
    ) -> list[Ranked]:
        head = await self.heads.find(name, caller.owner)
        sources = [
            Source(None, partial(source_of, image, field), field)
            for image, field in ((image, f"images.{number}") for number, image in enumerate(body.images))
        ]
        if archive is not None:
            sources += await asyncio.to_thread(sources_in, archive, self._settings.limits.max_image_bytes)
        request = await self._use_case.request(Question(head=head.exact_name), caller)
        unseen = {one.name for one in head.solved.classes if not one.pictures}
        return await ranked(self._use_case, sources, request, unseen, partial(self._limits.count, caller.client))

    async def learned(self, head: str, model: str | None, caller: Caller) -> LearnedClasses:
        named = await self.heads.taught(head, caller.owner)
        card = self._card_of(named, model)
        if self._use_case.backend.digest(named.model) not in (None, named.solved.digest):
            weights = f"other weights of {named.model} than are served now, or by an earlier release"
            raise ModelChanged(f"head: {named.name!r} was taught on {weights}; send its pictures again")
        return LearnedClasses(named.entries, card, named.model)

    def _card_of(self, head: NamedHead, named: str | None) -> ModelCard:
        card = self._card(head.name, head.model)
        try:
            return find_card(named or None, [card])
        except UnknownModel:
            raise InvalidValue.of("model", named, f"{head.model}, on which the head was taught, or no model") from None

    def _card(self, head: str, model: str) -> ModelCard:
        try:
            return self._use_case.card(model)
        except UnknownModel as error:
            weights = f"{model}, which is not served here"
            raise ModelChanged(f"head: {head!r} was taught on {weights} ({error.detail})") from None
