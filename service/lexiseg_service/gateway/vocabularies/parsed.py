"""Parsed vocabularies: the most recently used ones stay in memory, by their documents."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Container
from functools import partial
from typing import Protocol, TypeVar

import structlog

from lexiseg_service.errors import ServiceError
from lexiseg_service.gateway.vocabularies.named import NamedVocabulary, named
from lexiseg_service.gateway.vocabularies.schemas import StoredVocabulary
from lexiseg_service.question.validation import parse_object, validate
from lexiseg_service.settings import Limits

logger = structlog.get_logger("lexiseg.vocabularies")
MAX_BYTES = 64 * 2**20  # of parsed vocabularies; the most recent one stays whatever its size
T = TypeVar("T")


class Run(Protocol):
    """Calls work that parses or writes that many bytes; in a thread where that takes long."""

    async def __call__(self, n_bytes: int, work: Callable[[], T]) -> T: ...


async def in_a_thread(n_bytes: int, work: Callable[[], T]) -> T:
    """Call work in a thread."""
    return await asyncio.to_thread(work)


class ParsedVocabularies:
    """An LRU of parsed vocabularies by slot of a store; for one event loop."""

    def __init__(self, limits: Limits, max_bytes: int = MAX_BYTES, run: Run = in_a_thread) -> None:
        self._limits = limits
        self._run = run
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[bytes, NamedVocabulary | None]] = OrderedDict()
        self.nbytes = 0  # of the vocabularies, without their documents

    async def get(self, slot: str, content: bytes | None) -> NamedVocabulary | None:
        """The vocabulary of a document; None where there is none or it is invalid."""
        if content is None:
            self._drop(slot)
            return None
        known, vocabulary = self._entries.get(slot, (None, None))
        if known == content:
            self._entries.move_to_end(slot)
            return vocabulary
        vocabulary = await self._run(len(content), partial(self._parse, slot, content))
        self.put(slot, content, vocabulary)
        return vocabulary

    def put(self, slot: str, content: bytes, vocabulary: NamedVocabulary | None) -> None:
        """Remember the vocabulary of a document; None: it is invalid."""
        self._drop(slot)
        self._entries[slot] = content, vocabulary
        self.nbytes += 0 if vocabulary is None else vocabulary.nbytes
        while self.nbytes > self._max_bytes and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))

    def content(self, slot: str) -> bytes:
        """The document that was parsed last for a slot."""
        return self._entries[slot][0]

    def keep_only(self, slots: Container[str]) -> None:
        """Drop all other slots."""
        for slot in [slot for slot in self._entries if slot not in slots]:
            self._drop(slot)

    def _parse(self, slot: str, content: bytes) -> NamedVocabulary | None:
        """Checked like a request, because other programs may have written it."""
        try:
            stored = validate(StoredVocabulary, parse_object(content, self._limits))
            owner, _, name = slot.rpartition("~")
            return named(name, stored, self._limits, owner=owner or stored.owner, shared=not owner)
        except ServiceError as error:
            # The type only: the detail may quote class names, which are never logged.
            logger.warning("vocabulary skipped: it is invalid", vocabulary=slot, error=error.type)
            return None

    def _drop(self, slot: str) -> None:
        _, vocabulary = self._entries.pop(slot, (None, None))
        self.nbytes -= 0 if vocabulary is None else vocabulary.nbytes
