"""Parsed vocabularies, cached by their documents.

A parsed vocabulary takes several times the bytes of its document, so only the most recently used ones stay in memory.
The summary of each is small and stays.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog

from lexiseg_service.errors import MalformedRequest, ServiceError
from lexiseg_service.gateway.vocabularies.named import NamedVocabulary, Summary, named
from lexiseg_service.gateway.vocabularies.schemas import StoredVocabulary
from lexiseg_service.question.validation import parse_json, validate
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


@dataclass
class _Parsed:
    """A document, its summary (None: it is invalid), and the vocabulary (None: dropped from memory, or invalid)."""

    content: bytes
    summary: Summary | None
    vocabulary: NamedVocabulary | None


class ParsedVocabularies:
    """Parsed vocabularies by slot of a store; for one event loop."""

    def __init__(self, limits: Limits, max_bytes: int = MAX_BYTES, run: Run = in_a_thread) -> None:
        self._limits = limits
        self._run = run
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Parsed] = OrderedDict()  # the most recently used last
        self.nbytes = 0  # of the vocabularies, without their documents

    async def summary(self, slot: str, content: bytes | None) -> Summary | None:
        """The summary of a document; None where there is none or it is invalid."""
        entry = await self._entry(slot, content)
        return None if entry is None else entry.summary

    async def vocabulary(self, slot: str, content: bytes | None) -> NamedVocabulary | None:
        """The vocabulary of a document; None where there is none or it is invalid."""
        entry = await self._entry(slot, content)
        if entry is None or entry.summary is None:
            return None
        if entry.vocabulary is not None:
            self._entries.move_to_end(slot)
            return entry.vocabulary
        return (await self._parse(slot, entry.content)).vocabulary

    def content(self, slot: str) -> bytes:
        """The document that was parsed last for a slot."""
        return self._entries[slot].content

    def keep_only(self, slots: Container[str]) -> None:
        """Forget all other slots."""
        for slot in [slot for slot in self._entries if slot not in slots]:
            self._forget(slot)

    def put(self, slot: str, content: bytes, vocabulary: NamedVocabulary | None) -> _Parsed:
        """Remember the vocabulary of a document; None: it is invalid."""
        self._forget(slot)
        entry = _Parsed(content, None if vocabulary is None else vocabulary.summary, vocabulary)
        self.nbytes += 0 if vocabulary is None else vocabulary.nbytes
        older = list(self._entries.values())
        self._entries[slot] = entry
        for each in older:
            if self.nbytes > self._max_bytes:
                self._drop(each)
        return entry

    async def _entry(self, slot: str, content: bytes | None) -> _Parsed | None:
        if content is None:
            self._forget(slot)
            return None
        entry = self._entries.get(slot)
        return entry if entry is not None and entry.content == content else await self._parse(slot, content)

    async def _parse(self, slot: str, content: bytes) -> _Parsed:
        return self.put(slot, content, await self._run(len(content), partial(self._vocabulary, slot, content)))

    def _vocabulary(self, slot: str, content: bytes) -> NamedVocabulary | None:
        """Checked like a request, because other programs may have written it."""
        try:
            document = parse_json(content, self._limits)
            if not isinstance(document, dict):
                raise MalformedRequest("not a JSON object")
            stored = validate(StoredVocabulary, document)
            owner, _, name = slot.rpartition("~")
            return named(name, stored, self._limits, owner=owner or stored.owner, shared=not owner)
        except ServiceError as error:
            # The type only: the detail may quote class names, which are never logged.
            logger.warning("vocabulary skipped: it is invalid", vocabulary=slot, error=error.type)
            return None

    def _forget(self, slot: str) -> None:
        if slot in self._entries:
            self._drop(self._entries.pop(slot))

    def _drop(self, entry: _Parsed) -> None:
        if entry.vocabulary is not None:
            self.nbytes -= entry.vocabulary.nbytes
            entry.vocabulary = None
