"""What kept documents say: each is checked when its bytes are new, and the latest stay in memory as vocabularies.

A vocabulary takes several times the bytes of its document, and there may be hundreds. What a list says of each is small
and stays.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Container
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import structlog

from lexiseg_service.errors import MalformedRequest, ServiceError
from lexiseg_service.question.findings import validate
from lexiseg_service.question.json_text import parse_json
from lexiseg_service.settings import Limits
from lexiseg_service.vocabularies.named import Listed, NamedVocabulary, named
from lexiseg_service.vocabularies.schemas import KeptVocabulary

logger = structlog.get_logger("lexiseg.vocabularies")
MOST_BYTES = 64 * 2**20  # of vocabularies; the one that was asked for last stays however large it is
BYTES_OF_A_CLASS = 600  # its entry, and that as JSON values, without its texts and pictures
T = TypeVar("T")


class Run(Protocol):
    """Calls work that reads or writes so many bytes, in a thread where that takes long."""

    async def __call__(self, n_bytes: int, work: Callable[[], T]) -> T: ...


async def in_a_thread(n_bytes: int, work: Callable[[], T]) -> T:
    """Always in a thread."""
    return await asyncio.to_thread(work)


class _Known(NamedTuple):
    """A document, and what a list says of it; None where it is none."""

    content: bytes
    listed: Listed | None


class Weighed(NamedTuple):
    """A vocabulary, and what it takes in memory, nearly."""

    vocabulary: NamedVocabulary
    n_bytes: int

    @property
    def listed(self) -> Listed:
        return self.vocabulary.listed


class Readings:
    """By slot of a store, on one event loop."""

    def __init__(self, limits: Limits, most_bytes: int = MOST_BYTES, run: Run = in_a_thread) -> None:
        self._limits = limits
        self._run = run
        self._most_bytes = most_bytes
        self._known: dict[str, _Known] = {}
        self._whole: OrderedDict[str, Weighed] = OrderedDict()  # the latest last
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Of the vocabularies that stay; their documents are the store's."""
        return self._nbytes

    async def listed(self, slot: str, content: bytes | None) -> Listed | None:
        """What a list says of a document; None where there is none, or none that can be read."""
        if content is None:
            self._forget(slot)
            return None
        known = self._known.get(slot)
        if known is None or known.content != content:
            vocabulary = await self._read(slot, content)
            return None if vocabulary is None else vocabulary.listed
        return known.listed

    async def whole(self, slot: str, content: bytes | None) -> NamedVocabulary | None:
        """The vocabulary that a document is; None where there is none, or none that can be read."""
        if content is None:
            self._forget(slot)
            return None
        known = self._known.get(slot)
        if known is None or known.content != content:
            return await self._read(slot, content)
        if known.listed is None:
            return None
        if slot not in self._whole:
            return await self._read(slot, content)
        self._whole.move_to_end(slot)
        return self._whole[slot].vocabulary

    def content(self, slot: str) -> bytes:
        """The document that was read there last."""
        return self._known[slot].content

    def keep_only(self, slots: Container[str]) -> None:
        """What is nowhere else any more."""
        for slot in [slot for slot in self._known if slot not in slots]:
            self._forget(slot)

    def keep(self, slot: str, content: bytes, whole: Weighed | None) -> None:
        """What a document says, which has just been read, or written here; None where it cannot be read."""
        self._forget(slot)
        self._known[slot] = _Known(content, None if whole is None else whole.vocabulary.listed)
        if whole is not None:
            self._whole[slot] = whole
            self._nbytes += whole.n_bytes
            while self._nbytes > self._most_bytes and len(self._whole) > 1:
                self._drop(next(iter(self._whole)))

    async def _read(self, slot: str, content: bytes) -> NamedVocabulary | None:
        """What others may have written is not trusted."""
        whole = await self._run(len(content), partial(self._at_hand_or_parsed, slot, content))
        self.keep(slot, content, whole)
        return None if whole is None else whole.vocabulary

    def _at_hand_or_parsed(self, slot: str, content: bytes) -> Weighed | None:
        """In a thread. Of many who ask for the same, the first has had it read before the others have their turn."""
        known, whole = self._known.get(slot), self._whole.get(slot)
        if known is not None and whole is not None and known.content == content and known.listed == whole.listed:
            return whole
        return self._parsed(slot, content)

    def _parsed(self, slot: str, content: bytes) -> Weighed | None:
        try:
            parsed = parse_json(content, self._limits)
            if not isinstance(parsed, dict):
                raise MalformedRequest("not a JSON object")
            kept = validate(KeptVocabulary, parsed)
            owner, _, name = slot.rpartition("~")
            return weighed(named(name, kept, self._limits, owner=owner or kept.owner, shared=not owner))
        except ServiceError as error:
            # Only the kind: the detail may quote class names, which no log line holds.
            logger.warning("vocabulary skipped: it cannot be read", vocabulary=slot, error=error.type)
            return None

    def _forget(self, slot: str) -> None:
        self._known.pop(slot, None)
        self._drop(slot)

    def _drop(self, slot: str) -> None:
        if slot in self._whole:
            self._nbytes -= self._whole.pop(slot).n_bytes


def weighed(vocabulary: NamedVocabulary) -> Weighed:
    """A vocabulary, and what it takes in memory."""
    return Weighed(vocabulary, bytes_of(vocabulary))


def bytes_of(vocabulary: NamedVocabulary) -> int:
    """What a vocabulary takes in memory, nearly: texts, pictures as bytes, and with each example as base64."""
    entries = vocabulary.vocabulary.classes
    texts = sum(sys.getsizeof(text) for entry in entries for text in (entry.name, *entry.synonyms))
    contents = [example.image.content or b"" for example in vocabulary.examples]
    pictures = sum(len(content) for content in {id(content): content for content in contents}.values())
    return BYTES_OF_A_CLASS * len(entries) + texts + pictures + sum(4 * len(content) // 3 for content in contents)
