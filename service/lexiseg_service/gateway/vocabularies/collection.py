"""All vocabularies of an installation: built-in ones, and users' own, which are kept in a store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from difflib import get_close_matches

import structlog

from lexiseg_service.errors import (
    InvalidValue,
    NotAllowed,
    PreconditionFailed,
    ReadOnly,
    ServiceError,
    UnknownVocabulary,
)
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.named import BUILT_IN_NAMES, NamedVocabulary, built_in, named
from lexiseg_service.gateway.vocabularies.schemas import StoredVocabulary, VocabularyInput
from lexiseg_service.question.validation import MAX_COMPARED, parse_object, validate
from lexiseg_service.records.documents import (
    NAME,
    VOCABULARIES,
    Documents,
    ParsedDocuments,
    check_name,
    open_documents,
    slot_of,
)
from lexiseg_service.records.store import Amounts, Quota, Record
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.vocabularies")
MAX_BYTES = 64 * 2**20  # of parsed vocabularies
MAX_VOCABULARIES = 256  # of all users
MAX_VOCABULARIES_PER_KEY = 64
QUOTA = Quota(Amounts(number=MAX_VOCABULARIES_PER_KEY), Amounts(number=MAX_VOCABULARIES))
MAX_ATTEMPTS = 5  # of a write that conflicts with concurrent writes


ANONYMOUS = Caller()  # without an API key


class Vocabularies:
    """Vocabularies by name; a key's own one hides a shared one, and others' unshared ones are invisible."""

    def __init__(self, store: Documents, limits: Limits) -> None:
        self.store = store
        self._limits = limits
        self._parsed = ParsedDocuments(MAX_BYTES, self._parse)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes + self._parsed.weight

    async def find(self, name: str, key: str = "") -> NamedVocabulary:
        """The vocabulary of a name, of the ones visible to `key`."""
        if name in BUILT_IN_NAMES:
            vocabulary = await asyncio.to_thread(built_in, name)  # the largest takes a while, the first time
        else:
            vocabulary = await self._of_users(name, key)
        if vocabulary is None:
            similar = get_close_matches(name[:MAX_COMPARED], BUILT_IN_NAMES, 1)
            hint = f"is {similar[0]!r} meant?" if similar else f"built in are {', '.join(BUILT_IN_NAMES)};"
            raise UnknownVocabulary(
                f"vocabulary: there is none called {name[:MAX_COMPARED]!r}; {hint} GET /v1/vocabularies lists all"
            )
        return vocabulary

    async def list_all(self, key: str = "") -> list[NamedVocabulary]:
        """Built-in vocabularies in their own order, then the users' that are visible to `key`, by name."""
        lists = await asyncio.to_thread(lambda: [built_in(name) for name in BUILT_IN_NAMES])
        documents = await self.store.read_all()
        visible: dict[str, NamedVocabulary] = {}
        for slot, content in sorted(documents.items(), key=lambda each: "~" in each[0]):  # own ones replace shared ones
            owner, _, name = slot.rpartition("~")
            if owner in ("", key) and (vocabulary := await self._parsed.parse(slot, content)) is not None:
                visible[name] = vocabulary
        own = [visible[name] for name in sorted(visible)]
        return [*filter(None, lists), *own]

    async def put(
        self, name: str, class_list: VocabularyInput, preconditions: Preconditions, caller: Caller = ANONYMOUS
    ) -> tuple[NamedVocabulary, bool]:
        self._refuse_built_in(name)
        check_name(name)
        if class_list.shared is False and not caller.owner:
            raise InvalidValue.of("shared", "false", "true or null: without API keys all vocabularies are shared")
        for _ in range(MAX_ATTEMPTS):
            shared_slot, own_slot = slot_of(name, ""), slot_of(name, caller.owner)
            contents = {slot: await self.store.read(slot) for slot in {shared_slot, own_slot}}
            parsed = {slot: await self._parsed.parse(slot, content) for slot, content in contents.items()}
            common = parsed[shared_slot]
            changeable = common if common is not None and common.may_be_changed_by(caller) else None
            current = parsed[own_slot] or changeable
            preconditions.check(current.etag if current else None)
            shared = class_list.shared
            if shared is None:
                shared = current.shared if current else not caller.owner
            if shared and common is not None and changeable is None:
                raise NotAllowed(f"another key shares a vocabulary {name!r}; use another name, or keep yours unshared")
            owner = changeable.owner if shared and changeable else caller.owner
            vocabulary = await asyncio.to_thread(named, name, class_list, self._limits, owner=owner, shared=shared)
            document = await asyncio.to_thread(vocabulary.stored)
            target, other = (shared_slot, own_slot) if shared else (own_slot, shared_slot)
            record = Record(VOCABULARIES, target, owner)
            if await self.store.replace(target, contents[target], document, record, None if current else QUOTA):
                self._parsed.put(target, (document, vocabulary))
                # A vocabulary that becomes shared or unshared leaves its other slot; another key's shared one stays.
                if other != target and (other == own_slot or changeable is not None) and contents[other] is not None:
                    await self.store.replace(other, contents[other], None)
                return vocabulary, current is None
        raise PreconditionFailed(f"vocabulary {name!r}: others write it at the same time; send it again")

    async def delete(self, name: str, preconditions: Preconditions, caller: Caller = ANONYMOUS) -> None:
        self._refuse_built_in(name)
        for _ in range(MAX_ATTEMPTS):
            current = await self.find(name, caller.owner)
            if not current.may_be_changed_by(caller):
                raise NotAllowed(f"vocabulary {name!r} belongs to another key, which shares it")
            preconditions.check(current.etag)
            slot = slot_of(name, "" if current.shared else caller.owner)
            parsed = self._parsed.get(slot)
            if parsed is not None and await self.store.replace(slot, parsed[0], None):
                return
        raise PreconditionFailed(f"vocabulary {name!r}: others write it at the same time; send it again")

    async def delete_all(self, caller: Caller) -> int:
        """Delete all vocabularies of the caller's key, without keys all but the built-in ones; returns their number."""
        own = [each for each in await self.list_all(caller.owner) if not each.built_in and each.owner == caller.owner]
        for vocabulary in own:
            with suppress(UnknownVocabulary):  # another request has deleted it
                await self.delete(vocabulary.name, Preconditions(), caller)
        return len(own)

    def _parse(self, slot: str, content: bytes) -> NamedVocabulary | None:
        try:
            stored = validate(StoredVocabulary, parse_object(content, self._limits))
            owner, _, name = slot.rpartition("~")
            return named(name, stored, self._limits, owner=owner or stored.owner, shared=not owner)
        except ServiceError as error:
            # The type only: the detail may quote class names, which are never logged.
            logger.warning("vocabulary skipped: it is invalid", vocabulary=slot, error=error.type)
            return None

    async def _of_users(self, name: str, key: str) -> NamedVocabulary | None:
        if not NAME.fullmatch(name):
            return None
        own_slot = slot_of(name, key)
        # The own slot is read again: a vocabulary that becomes unshared is written there first.
        for slot in (own_slot, name, own_slot) if own_slot != name else (own_slot,):
            if (vocabulary := await self._parsed.parse(slot, await self.store.read(slot))) is not None:
                return vocabulary
        return None

    def _refuse_built_in(self, name: str) -> None:
        if name in BUILT_IN_NAMES:
            raise ReadOnly(f"vocabulary {name!r} is built in; PUT your own under another name")


def open_vocabularies(settings: Settings, metrics: Metrics) -> Vocabularies:
    return Vocabularies(open_documents(VOCABULARIES, settings, metrics), settings.limits)
