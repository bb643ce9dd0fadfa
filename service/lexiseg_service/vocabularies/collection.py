"""All vocabularies of an installation: the built-in ones before the users' own, which a store keeps."""

from __future__ import annotations

import asyncio

import structlog

from lexiseg_service.errors import (
    InvalidValue,
    MalformedRequest,
    PreconditionFailed,
    ReadOnly,
    ServiceError,
    UnknownVocabulary,
)
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies import builtin
from lexiseg_service.vocabularies.named import NamedVocabulary, check_name, encode, named
from lexiseg_service.vocabularies.preconditions import Preconditions
from lexiseg_service.vocabularies.schemas import VocabularyInput
from lexiseg_service.vocabularies.stores.store import Store

logger = structlog.get_logger("lexiseg.vocabularies")
ATTEMPTS = 5  # of a write that another one overtakes


class Vocabularies:
    """Finds, lists, writes and deletes vocabularies by their names."""

    def __init__(self, store: Store, limits: Limits, most: int = 256) -> None:
        self.store = store
        self._limits = limits
        self._most = most
        self._read: dict[str, tuple[bytes, NamedVocabulary | None]] = {}
        self._loaded: set[str] = set()

    async def find(self, name: str) -> NamedVocabulary:
        """The vocabulary of that name.

        Raises:
            UnknownVocabulary: there is none.
        """
        vocabulary = await self._built_in(name) or await self._understood(name, await self.store.read(name))
        if vocabulary is None:
            raise UnknownVocabulary(f"vocabulary: no {name[:80]!r} here; GET /vocabularies lists those that are")
        return vocabulary

    async def list_all(self) -> list[NamedVocabulary]:
        """The built-in ones in the manual's order, then the users' by name."""
        built_in = await asyncio.to_thread(lambda: [builtin.built_in(name) for name in builtin.NAMES])
        documents = await self.store.read_all()
        for name in self._read.keys() - documents.keys():
            del self._read[name]
        own = [await self._understood(name, content) for name, content in sorted(documents.items())]
        return [vocabulary for vocabulary in (*built_in, *own) if vocabulary is not None]

    async def put(
        self, name: str, class_list: VocabularyInput, preconditions: Preconditions
    ) -> tuple[NamedVocabulary, bool]:
        """Writes a user's vocabulary; True if there was none of that name.

        Raises:
            InvalidValue: the name or the class list breaks a rule, or there are too many vocabularies.
            ReadOnly: the name is a built-in one's.
            PreconditionFailed: what is there is not what the client expects.
            NotReady: nothing can be written at present.
        """
        self._refuse_built_in(check_name(name))
        written = await asyncio.to_thread(named, name, class_list, self._limits)
        content = encode(written.document)
        for _ in range(ATTEMPTS):
            old = await self.store.read(name)
            current = await self._understood(name, old)
            preconditions.check(current.etag if current else None)
            if old is None and len(await self.store.read_all()) >= self._most:
                raise InvalidValue.of("name", name, f"at most {self._most} vocabularies of users; delete one first")
            if await self.store.replace(name, old, content):
                return written, current is None
        raise PreconditionFailed(f"vocabulary {name!r}: others write it at the same time; send it again")

    async def delete(self, name: str, preconditions: Preconditions) -> None:
        """Deletes a user's vocabulary.

        Raises:
            UnknownVocabulary: there is none of that name.
            ReadOnly: it is built in.
            PreconditionFailed: what is there is not what the client expects.
            NotReady: nothing can be written at present.
        """
        self._refuse_built_in(name)
        for _ in range(ATTEMPTS):
            current = await self.find(name)
            preconditions.check(current.etag)
            if await self.store.replace(name, self._read[name][0], None):
                self._read.pop(name, None)
                return
        raise PreconditionFailed(f"vocabulary {name!r}: others write it at the same time; send it again")

    def _refuse_built_in(self, name: str) -> None:
        if name in builtin.NAMES:
            raise ReadOnly(f"vocabulary {name!r} is built in; PUT your own under another name")

    async def _built_in(self, name: str) -> NamedVocabulary | None:
        """The longest takes a while to read, the first time."""
        if name in builtin.NAMES and name not in self._loaded:
            await asyncio.to_thread(builtin.built_in, name)
            self._loaded.add(name)
        return builtin.built_in(name)

    async def _understood(self, name: str, content: bytes | None) -> NamedVocabulary | None:
        """A kept document, checked again when its bytes are new: what others may have written is not trusted."""
        if content is None:
            self._read.pop(name, None)
            return None
        checked = self._read.get(name)
        if checked is None or checked[0] != content:
            checked = self._read[name] = (content, await asyncio.to_thread(self._parse, name, content))
        return checked[1]

    def _parse(self, name: str, content: bytes) -> NamedVocabulary | None:
        try:
            parsed = parse_json(content, self._limits)
            if not isinstance(parsed, dict):
                raise MalformedRequest("not a JSON object")
            return named(name, validate(VocabularyInput, parsed), self._limits)
        except ServiceError as error:
            # Only the kind: the detail may quote class names, which no log line holds.
            logger.warning("vocabulary skipped: it cannot be read", vocabulary=name, error=error.type)
            return None
