"""All vocabularies of an installation: the built-in ones before the users' own, which a store keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple

from lexiseg_service.errors import (
    InvalidValue,
    NotAllowed,
    PreconditionFailed,
    ReadOnly,
    UnknownVocabulary,
)
from lexiseg_service.question.findings import LONGEST_COMPARED
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies import builtin
from lexiseg_service.vocabularies.named import NAME, Listed, NamedVocabulary, check_name, named, slot_of
from lexiseg_service.vocabularies.preconditions import Preconditions
from lexiseg_service.vocabularies.readings import Readings, Run, in_a_thread
from lexiseg_service.vocabularies.schemas import VocabularyInput
from lexiseg_service.vocabularies.stores.store import Store

ATTEMPTS = 5  # of a write that another one overtakes
BYTES_OF_A_TEXT, BYTES_OF_AN_EXAMPLE = 20, 64 * 2**10  # of a class list as JSON, nearly


class Asker(NamedTuple):
    """Who asks: the id of an API key, "" where none is needed; an admin may change what others share."""

    key: str = ""
    admin: bool = False

    def may_change(self, vocabulary: NamedVocabulary | Listed) -> bool:
        """Whether a user's vocabulary is the asker's to replace and delete."""
        return self.admin or not self.key or vocabulary.owner in ("", self.key)


ANYBODY = Asker()


class Most(NamedTuple):
    """Vocabularies of users: of all, and of one key."""

    of_all: int = 256
    of_a_key: int = 64


USUAL = Most()


class Vocabularies:
    """Finds, lists, writes and deletes vocabularies by their names.

    With API keys, a key's own goes before a shared one of the same name; of others' own it never hears.
    """

    def __init__(self, store: Store, limits: Limits, most: Most = USUAL, run: Run = in_a_thread) -> None:
        self.store = store
        self._run = run
        self._limits = limits
        self._most = most
        self._readings = Readings(limits, run=run)
        self._loaded: set[str] = set()
        self._adding = asyncio.Lock()  # else all who come at a time would find room for one more

    @property
    def nbytes(self) -> int:
        """What users' vocabularies take in memory."""
        return self.store.nbytes + self._readings.nbytes

    async def find(self, name: str, key: str = "") -> NamedVocabulary:
        """The vocabulary that a key means by that name.

        Raises:
            UnknownVocabulary: there is none.
        """
        vocabulary = await self._built_in(name) or await self._of_users(name, key)
        if vocabulary is None:
            near = get_close_matches(name[:LONGEST_COMPARED], builtin.NAMES, 1)
            expected = f"is {near[0]!r} meant?" if near else f"built in are {', '.join(builtin.NAMES)};"
            raise UnknownVocabulary(
                f"vocabulary: no {name[:LONGEST_COMPARED]!r} here; {expected} GET /vocabularies lists all"
            )
        return vocabulary

    async def list_all(self, key: str = "") -> list[Listed]:
        """The built-in ones in the manual's order, then by name those of users that a key may name."""
        built_in = await asyncio.to_thread(lambda: [builtin.built_in(name) for name in builtin.NAMES])
        documents = await self.store.read_all()
        self._readings.keep_only(documents)
        visible: dict[str, Listed] = {}
        for slot, content in sorted(documents.items(), key=lambda each: "~" in each[0]):  # a key's own go before
            owner, _, name = slot.rpartition("~")
            if owner in ("", key) and (listed := await self._readings.listed(slot, content)) is not None:
                visible[name] = listed
        own = [visible[name] for name in sorted(visible)]
        return [*(vocabulary.listed for vocabulary in built_in if vocabulary is not None), *own]

    async def put(
        self, name: str, class_list: VocabularyInput, preconditions: Preconditions, asker: Asker = ANYBODY
    ) -> tuple[NamedVocabulary, bool]:
        """Writes a user's vocabulary; True if the asker had none of that name.

        Raises:
            InvalidValue: the name or the class list breaks a rule, or there are too many vocabularies.
            ReadOnly: the name is a built-in one's.
            NotAllowed: another key shares one of that name.
            PreconditionFailed: what is there is not what the client expects.
            NotReady: nothing can be written at present.
        """
        self._refuse_built_in(check_name(name))
        if class_list.shared is False and not asker.key:
            raise InvalidValue.of("shared", "false", "true or null: without API keys everybody shares everything")
        n_bytes, made = _bytes_of(class_list), dict[tuple[str, bool], tuple[NamedVocabulary, bytes]]()
        for _ in range(ATTEMPTS):
            theirs, private = slot_of(name, ""), slot_of(name, asker.key)
            kept = {slot: await self.store.read(slot) for slot in {theirs, private}}
            known = {slot: await self._readings.listed(slot, content) for slot, content in kept.items()}
            common = known[theirs]
            mine = common if common is not None and asker.may_change(common) else None
            own = known[private] or mine
            preconditions.check(own.etag if own else None)
            shared = class_list.shared
            if shared is None:
                shared = own.shared if own else not asker.key
            if shared and common is not None and mine is None:
                raise NotAllowed(f"another key shares a vocabulary {name!r}; take another name, or keep yours unshared")
            owner = mine.owner if shared and mine else asker.key
            if (owner, shared) not in made:
                make = partial(named, name, class_list, self._limits, owner=owner, shared=shared)
                made[owner, shared] = await self._run(n_bytes, partial(_written, make))
            written, document = made[owner, shared]
            target, left = (theirs, private) if shared else (private, theirs)
            if await self._replace(target, kept[target], document, asker, is_new=own is None):
                self._readings.keep(target, document, written)
                # A list that changes sides has left the other one; one that others share stays where it is.
                if left != target and (left == private or mine is not None) and kept[left] is not None:
                    await self.store.replace(left, kept[left], None)
                return written, own is None
        raise PreconditionFailed(f"vocabulary {name!r}: others write it at the same time; send it again")

    async def delete(self, name: str, preconditions: Preconditions, asker: Asker = ANYBODY) -> None:
        """Deletes a user's vocabulary.

        Raises:
            UnknownVocabulary: there is none of that name.
            ReadOnly: it is built in.
            NotAllowed: it is another key's, which shares it.
            PreconditionFailed: what is there is not what the client expects.
            NotReady: nothing can be written at present.
        """
        self._refuse_built_in(name)
        for _ in range(ATTEMPTS):
            current = await self.find(name, asker.key)
            if not asker.may_change(current):
                raise NotAllowed(f"vocabulary {name!r} is another key's, which shares it")
            preconditions.check(current.etag)
            slot = slot_of(name, "" if current.shared else asker.key)
            if await self.store.replace(slot, self._readings.content(slot), None):
                await self._readings.listed(slot, None)
                return
        raise PreconditionFailed(f"vocabulary {name!r}: others write it at the same time; send it again")

    async def _replace(self, slot: str, old: bytes | None, new: bytes, asker: Asker, *, is_new: bool) -> bool:
        """As `Store.replace`, where there is room for what is new.

        Raises:
            InvalidValue: there is none.
            NotReady: nothing can be written at present.
        """
        if old is not None or not is_new:
            return await self.store.replace(slot, old, new)
        async with self._adding:
            await self._refuse_more(asker)
            return await self.store.replace(slot, old, new)

    async def _refuse_more(self, asker: Asker) -> None:
        documents = await self.store.read_all()
        if len(documents) >= self._most.of_all:
            expected = f"at most {self._most.of_all} vocabularies of users; delete one first"
            raise InvalidValue.of("name", "one more", expected)
        if not asker.key:
            return
        known = [await self._readings.listed(slot, content) for slot, content in documents.items()]
        if sum(each is not None and each.owner == asker.key for each in known) >= self._most.of_a_key:
            expected = f"at most {self._most.of_a_key} vocabularies of one key; delete one first"
            raise InvalidValue.of("name", "one more", expected)

    async def _of_users(self, name: str, key: str) -> NamedVocabulary | None:
        if not NAME.fullmatch(name):
            return None
        own = slot_of(name, key)
        # Own before shared, and own again: a list that changes sides is on the new one before it leaves the old.
        for slot in (own, name, own) if own != name else (own,):
            if (vocabulary := await self._readings.whole(slot, await self.store.read(slot))) is not None:
                return vocabulary
        return None

    def _refuse_built_in(self, name: str) -> None:
        if name in builtin.NAMES:
            raise ReadOnly(f"vocabulary {name!r} is built in; PUT your own under another name")

    async def _built_in(self, name: str) -> NamedVocabulary | None:
        """The longest takes a while to read, the first time."""
        if name in builtin.NAMES and name not in self._loaded:
            await asyncio.to_thread(builtin.built_in, name)
            self._loaded.add(name)
        return builtin.built_in(name)


def _written(make: Callable[[], NamedVocabulary]) -> tuple[NamedVocabulary, bytes]:
    """A checked vocabulary, and what a store keeps of it."""
    vocabulary = make()
    return vocabulary, vocabulary.kept


def _bytes_of(class_list: VocabularyInput) -> int:
    """Of a class list as JSON, nearly."""
    texts = examples = 0
    for entry in class_list.classes:
        texts += 1
        if not isinstance(entry, str):
            texts += len(entry.synonyms)
            examples += len(entry.examples) + len(entry.negatives)
    return BYTES_OF_A_TEXT * texts + BYTES_OF_AN_EXAMPLE * examples
