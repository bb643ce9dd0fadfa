"""All heads of an installation: found, written and deleted by name, in the kind of store that keeps vocabularies.

A head belongs to the API key that made it; no other key sees it. Lessons are parts of its document in the store.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

import structlog

from lexiseg_model.errors import TeachingError
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.class_names import folded
from lexiseg_model.vocabulary.heads import MAX_CLASSES, MAX_PICTURES, Head, Lesson
from lexiseg_model.vocabulary.solving import solve
from lexiseg_service.errors import (
    InvalidValue,
    ModelChanged,
    NameTaken,
    PreconditionFailed,
    UnknownHead,
)
from lexiseg_service.gateway.heads.head import KeptPicture, NamedHead
from lexiseg_service.gateway.preconditions import UNCONDITIONAL, Preconditions
from lexiseg_service.gateway.stores import HEADS, NAME, Store, open_store, slot_of
from lexiseg_service.question.validation import MAX_COMPARED
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

OFF = "heads are off here: nothing of pictures is kept (LEXISEG_FEATURE_CACHE_BYTES=0)"
logger = structlog.get_logger("lexiseg.heads")
MAX_HEADS = 256  # of all users
MAX_HEADS_PER_KEY = 64
MAX_BYTES = 512 * 2**20  # of all users' lessons
MAX_BYTES_PER_KEY = 192 * 2**20
MAX_PARSED_BYTES = 32 * 2**20  # in memory
MAX_ATTEMPTS = 5  # of a write that conflicts with concurrent writes


class Parsed(NamedTuple):
    """A stored document and its head; None if the document is invalid."""

    content: bytes
    head: NamedHead | None


@dataclass(frozen=True)
class Change:
    """What becomes of a head.

    Args:
        model: that was asked, NAME@VERSION.
        classes: of the head, further ones added.
        lessons: of new pictures by key, as bytes; each replaces that of the same key.
        removed: keys of pictures that are taken out.
        whole: nothing of the head before stays.
        keep_days: from the change on; None: as before.
        digest: of the weights that lessons must be of; None: any.
        preconditions: of the version that is changed.
    """

    model: str
    classes: tuple[ClassEntry, ...]
    lessons: Mapping[str, bytes]
    removed: Sequence[str] = ()
    whole: bool = False
    keep_days: float | None = None
    digest: str | None = None
    preconditions: Preconditions = UNCONDITIONAL


class Heads:
    """Finds, lists, writes and deletes heads by name and owner, the id of an API key."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._parsed: Lru[str, Parsed] = Lru(
            MAX_PARSED_BYTES, lambda _, parsed: parsed.head.nbytes if parsed.head else 0
        )
        self._changing = asyncio.Lock()  # one at a time: each holds its lessons and a core

    @property
    def nbytes(self) -> int:
        """Bytes of heads in memory."""
        return self.store.nbytes + self._parsed.weight

    async def find(self, name: str, owner: str) -> NamedHead:
        """The head of NAME or NAME@VERSION.

        Raises:
            UnknownHead: no such head, or it has another version by now.
        """
        plain, at, version = name.partition("@")
        head = await self._at(slot_of(plain, owner)) if NAME.fullmatch(plain) else None
        if head is None:
            similar = get_close_matches(plain[:MAX_COMPARED], [each.name for each in await self.list_all(owner)], 1)
            hint = f"is {similar[0]!r} meant?" if similar else "GET /v1/heads lists all"
            raise UnknownHead(f"head: there is none called {name[:MAX_COMPARED]!r}; {hint}")
        if at and version != head.solved.version:
            raise UnknownHead(
                f"head: {plain!r} has the version {head.solved.version} now, not {version[:MAX_COMPARED]!r}"
            )
        return head

    async def list_all(self, owner: str) -> list[NamedHead]:
        """The heads of an owner, by name."""
        documents = await self.store.read_all()
        heads = [self._of(slot, content) for slot, content in sorted(documents.items())]
        return [head for head in heads if head is not None and head.owner == owner]

    async def before(
        self, name: str, owner: str, preconditions: Preconditions, *, is_new: bool = False
    ) -> NamedHead | None:
        """The head that a change of `name` begins from, None for a new one.

        Raises:
            InvalidValue: it is no name.
            NameTaken: a new head is wanted, and there is one of the name.
            PreconditionFailed: it has another version than expected.
        """
        if not NAME.fullmatch(name):
            raise InvalidValue.of("name", name, "1 to 64 of a-z, 0-9 and -, not beginning with -")
        head = await self._at(slot_of(name, owner))
        if is_new and head is not None:
            raise _taken(name)
        preconditions.check(None if head is None else head.etag)
        return head

    async def change(self, name: str, owner: str, change: Change, *, is_new: bool) -> NamedHead:
        """Write a head; what others change at the same time stays.

        Raises:
            NameTaken: a new head is wanted, and there is one of the name.
            PreconditionFailed: it has another version than expected, or others write it at the same time.
            ModelChanged: pictures that stay were taught to other weights.
            InvalidValue: too many classes, pictures, bytes or heads; no picture is left; or the pictures teach nothing.
            NotReady: the store takes no writes now.
        """
        async with self._changing:
            return await self._change(slot_of(name, owner), name, owner, change, is_new)

    async def _change(self, slot: str, name: str, owner: str, change: Change, is_new: bool) -> NamedHead:
        for _ in range(MAX_ATTEMPTS):
            content = await self.store.read(slot)
            current = None if content is None else self._parse(slot, content)
            if content is not None and current is not None and current.has_expired:
                await self._drop(slot, content)
                continue
            if is_new and current is not None:
                raise _taken(name)
            change.preconditions.check(None if current is None else current.etag)
            before = None if change.whole else current
            parts = {secrets.token_hex(16): (key, lesson) for key, lesson in change.lessons.items()}
            pictures, classes = _pictures(before, change, parts), _classes(before, change)
            lessons = await self._lessons(slot, pictures, parts)
            solved = await self._solved(lessons, classes, change)
            keep_days = before.keep_days if before and change.keep_days is None else change.keep_days
            head = NamedHead(name, owner, change.model, classes, pictures, solved, time.time(), keep_days)
            await self.store.write_parts(slot, {part: lesson for part, (_, lesson) in parts.items()})
            try:
                written = await self._replace(slot, content, head)
            except BaseException:
                await self.store.remove_parts(slot, [*parts])
                raise
            kept = {picture.part for picture in pictures}
            of_before = () if current is None else current.pictures
            dropped = [each.part for each in of_before if each.part not in kept] if written else [*parts]
            await self.store.remove_parts(slot, dropped)
            if written:
                return head
        raise PreconditionFailed(f"head {name!r}: others write it at the same time; send it again")

    async def contents(self, head: NamedHead) -> list[bytes]:
        """The lessons of a head's pictures, in order.

        Raises:
            ModelChanged: some are lost.
            NotReady: nothing can be read now.
        """
        return await self._contents(head.slot, head.pictures, {})

    async def delete(self, name: str, owner: str, preconditions: Preconditions = UNCONDITIONAL) -> None:
        """Delete a head and its lessons.

        Raises:
            UnknownHead: no such head.
            PreconditionFailed: it has another version than expected, or others write it at the same time.
            NotReady: the store takes no writes now.
        """
        slot = slot_of(name, owner)
        for _ in range(MAX_ATTEMPTS):
            content = await self.store.read(slot)
            preconditions.check((await self.find(name, owner)).etag)
            if content is not None and await self._drop(slot, content):
                return
        raise PreconditionFailed(f"head {name!r}: others write it at the same time; send it again")

    async def delete_all(self, owner: str) -> int:
        """Delete all heads of an owner; returns their number.

        Raises:
            NotReady: the store takes no writes now.
        """
        slots = [slot for slot in await self.store.read_all() if slot.rpartition("~")[0] == owner]
        for slot in slots:
            content = await self.store.read(slot)
            while content is not None and not await self.store.replace(slot, content, None):
                content = await self.store.read(slot)
            await self.store.remove_parts(slot)
        return len(slots)

    async def _drop(self, slot: str, content: bytes) -> bool:
        """Remove a document and its lessons; False if it has changed."""
        if not await self.store.replace(slot, content, None):
            return False
        await self.store.remove_parts(slot)
        return True

    async def _at(self, slot: str) -> NamedHead | None:
        content = await self.store.read(slot)
        return None if content is None else self._of(slot, content)

    def _of(self, slot: str, content: bytes) -> NamedHead | None:
        """The head of a document; None if it is invalid or has expired."""
        head = self._parse(slot, content)
        return None if head is None or head.has_expired else head

    def _parse(self, slot: str, content: bytes) -> NamedHead | None:
        """The head of a document; None if it is invalid."""
        parsed = self._parsed.get(slot)
        if parsed is None or parsed.content != content:
            try:
                parsed = Parsed(content, NamedHead.read(slot, content))
            except (ValueError, TypeError, LookupError, TeachingError) as error:
                logger.warning("head skipped: it is invalid", head=slot, error=type(error).__name__)
                parsed = Parsed(content, None)
            self._parsed.put(slot, parsed)
        return parsed.head

    async def _lessons(
        self, slot: str, pictures: Sequence[KeptPicture], new: Mapping[str, tuple[str, bytes]]
    ) -> list[Lesson]:
        contents = await self._contents(slot, pictures, new)
        return await asyncio.to_thread(lambda: [Lesson.from_bytes(content) for content in contents])

    async def _contents(
        self, slot: str, pictures: Sequence[KeptPicture], new: Mapping[str, tuple[str, bytes]]
    ) -> list[bytes]:
        """The lessons of pictures: those of `new` by their part, the others from the store."""
        kept = [picture.part for picture in pictures if picture.part not in new]
        contents = await self.store.read_parts(slot, kept)
        contents |= {part: lesson for part, (_, lesson) in new.items()}
        if lost := [picture.key for picture in pictures if picture.part not in contents]:
            lost_ones = f"the lessons of {len(lost)} pictures, as of {lost[0]!r}, are lost"
            raise ModelChanged(f"head {slot!r}: {lost_ones}; send these pictures again, or take them out")
        return [contents[picture.part] for picture in pictures]

    async def _solved(self, lessons: Sequence[Lesson], classes: Sequence[ClassEntry], change: Change) -> Head:
        _check_one_model(lessons, change.digest or lessons[-1].digest)
        names = [entry.name for entry in classes]
        try:
            return await asyncio.to_thread(solve, lessons, names)
        except TeachingError as error:
            raise InvalidValue.because("pictures", str(error)) from None

    async def _replace(self, slot: str, old: bytes | None, head: NamedHead) -> bool:
        """Replace a slot as `Store.replace`; the head must fit the limits.

        Raises:
            InvalidValue: there are too many heads or bytes.
            NotReady: the store takes no writes now.
        """
        await self._check_room(slot, head)
        document = head.stored()
        if not await self.store.replace(slot, old, document):
            return False
        self._parsed.put(slot, Parsed(document, head))
        return True

    async def _check_room(self, slot: str, head: NamedHead) -> None:
        documents = await self.store.read_all()
        for each, content in documents.items():
            other = self._parse(each, content)
            if other is not None and other.has_expired:
                await self._drop(each, content)
        others = [self._of(each, content) for each, content in documents.items() if each != slot]
        of_all = [each for each in others if each is not None]
        own = [each for each in of_all if each.owner == head.owner]
        _check_fits(of_all, head, MAX_HEADS, MAX_BYTES, "")
        if head.owner:
            _check_fits(own, head, MAX_HEADS_PER_KEY, MAX_BYTES_PER_KEY, " of one key")


def _check_fits(others: Sequence[NamedHead], head: NamedHead, max_heads: int, max_bytes: int, whose: str) -> None:
    """Raises InvalidValue: a head beside others is one too many, or its lessons are too large."""
    if len(others) >= max_heads:
        raise InvalidValue.of("name", "one more", f"at most {max_heads} heads{whose}; delete one first")
    if (total := sum(each.lesson_bytes for each in others) + head.lesson_bytes) > max_bytes:
        expected = f"at most {max_bytes:,} bytes of lessons{whose}; take out pictures, or delete a head"
        raise InvalidValue.of("pictures", f"{total:,} bytes", expected)


def _taken(name: str) -> NameTaken:
    return NameTaken(f"name: there is a head {name!r}; PUT /v1/heads/{name} changes it, DELETE removes it")


def _classes(current: NamedHead | None, change: Change) -> tuple[ClassEntry, ...]:
    """The classes of a head, and those that a change adds."""
    before = () if current is None else current.classes
    known = {folded(entry.name) for entry in before}
    classes = (*before, *(entry for entry in change.classes if folded(entry.name) not in known))
    if len(classes) > MAX_CLASSES:
        raise InvalidValue.of("classes", f"{len(classes)} classes", f"at most {MAX_CLASSES} of a head")
    return classes


def _pictures(
    current: NamedHead | None, change: Change, parts: Mapping[str, tuple[str, bytes]]
) -> tuple[KeptPicture, ...]:
    """The pictures of a head after a change, those that stay first."""
    before = () if current is None else current.pictures
    if unknown := set(change.removed) - {picture.key for picture in before}:
        raise InvalidValue.of("remove", min(unknown), "keys of pictures of the head")
    gone = {*change.removed, *change.lessons}
    new = [KeptPicture(key, part, len(lesson)) for part, (key, lesson) in parts.items()]
    pictures = (*(picture for picture in before if picture.key not in gone), *new)
    if not pictures:
        raise InvalidValue.of("pictures", 0, "at least one reviewed picture; DELETE removes the head")
    if len(pictures) > MAX_PICTURES:
        raise InvalidValue.of("pictures", f"{len(pictures)} pictures", f"at most {MAX_PICTURES} of a head")
    return pictures


def _check_one_model(lessons: Sequence[Lesson], digest: str) -> None:
    """Raises ModelChanged: lessons are of other weights."""
    others = sum(lesson.digest != digest for lesson in lessons)
    if others:
        raise ModelChanged(
            f"pictures: {others} of the head's {len(lessons)} were taught to other weights of the model than are "
            "served now, or by another release; send all of them again, or delete the head"
        )


def open_heads(settings: Settings, metrics: Metrics) -> Heads | None:
    """The heads of an installation, where vocabularies are kept; None where nothing of pictures may be kept.

    Raises:
        OSError: the state directory cannot be used.
    """
    if not settings.feature_cache_bytes:
        return None
    heads = Heads(open_store(HEADS, settings, metrics))
    metrics.held("heads", lambda: heads.nbytes)
    return heads
