"""Parsed vocabularies, cached by their documents.

A vocabulary takes several times the bytes of its document, so only the most recently used ones stay in memory.
What a list shows of each is small and stays.
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
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies.named import Listed, NamedVocabulary, named
from lexiseg_service.vocabularies.schemas import KeptVocabulary

logger = structlog.get_logger("lexiseg.vocabularies")
MAX_BYTES = 64 * 2**20  # of parsed vocabularies; the most recent one stays however large it is
T = TypeVar("T")


class Run(Protocol):
    """Calls work that reads or writes so many bytes, in a thread where that takes long."""

    async def __call__(self, n_bytes: int, work: Callable[[], T]) -> T: ...


async def in_a_thread(n_bytes: int, work: Callable[[], T]) -> T:
    """Always in a thread."""
    return await asyncio.to_thread(work)


@dataclass
class _Reading:
    """A document and what it says: `listed` is None where it cannot be read, `whole` also where it was dropped."""

    content: bytes
    listed: Listed | None
    whole: NamedVocabulary | None


class Readings:
    """Parsed vocabularies by slot of a store; for one event loop."""

    def __init__(self, limits: Limits, max_bytes: int = MAX_BYTES, run: Run = in_a_thread) -> None:
        self._limits = limits
        self._run = run
        self._max_bytes = max_bytes
        self._readings: OrderedDict[str, _Reading] = OrderedDict()  # the most recently used last
        self.nbytes = 0  # of parsed vocabularies; their documents are the store's

    async def listed(self, slot: str, content: bytes | None) -> Listed | None:
        """What a list shows of a document; None where there is none or it cannot be read."""
        reading = await self._reading(slot, content)
        return None if reading is None else reading.listed

    async def whole(self, slot: str, content: bytes | None) -> NamedVocabulary | None:
        """The vocabulary of a document; None where there is none or it cannot be read."""
        reading = await self._reading(slot, content)
        if reading is None or reading.listed is None:
            return None
        if reading.whole is not None:
            self._readings.move_to_end(slot)
            return reading.whole
        return (await self._read(slot, reading.content)).whole

    def content(self, slot: str) -> bytes:
        """The document that was read there last."""
        return self._readings[slot].content

    def keep_only(self, slots: Container[str]) -> None:
        """Forget all other slots."""
        for slot in [slot for slot in self._readings if slot not in slots]:
            self._forget(slot)

    def keep(self, slot: str, content: bytes, whole: NamedVocabulary | None) -> _Reading:
        """What a document says that was just read or written; None where it cannot be read."""
        self._forget(slot)
        reading = _Reading(content, None if whole is None else whole.listed, whole)
        self.nbytes += 0 if whole is None else whole.nbytes
        older = list(self._readings.values())
        self._readings[slot] = reading
        for each in older:
            if self.nbytes > self._max_bytes:
                self._drop(each)
        return reading

    async def _reading(self, slot: str, content: bytes | None) -> _Reading | None:
        if content is None:
            self._forget(slot)
            return None
        reading = self._readings.get(slot)
        return reading if reading is not None and reading.content == content else await self._read(slot, content)

    async def _read(self, slot: str, content: bytes) -> _Reading:
        return self.keep(slot, content, await self._run(len(content), partial(self._parsed, slot, content)))

    def _parsed(self, slot: str, content: bytes) -> NamedVocabulary | None:
        """Checked like a request: others may have written it."""
        try:
            parsed = parse_json(content, self._limits)
            if not isinstance(parsed, dict):
                raise MalformedRequest("not a JSON object")
            kept = validate(KeptVocabulary, parsed)
            owner, _, name = slot.rpartition("~")
            return named(name, kept, self._limits, owner=owner or kept.owner, shared=not owner)
        except ServiceError as error:
            # Only the kind: the detail may quote class names, which no log line holds.
            logger.warning("vocabulary skipped: it cannot be read", vocabulary=slot, error=error.type)
            return None

    def _forget(self, slot: str) -> None:
        if slot in self._readings:
            self._drop(self._readings.pop(slot))

    def _drop(self, reading: _Reading) -> None:
        if reading.whole is not None:
            self.nbytes -= reading.whole.nbytes
            reading.whole = None
