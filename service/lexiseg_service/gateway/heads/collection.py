"""All heads of an installation: found, written and deleted by name, in the kind of store that keeps vocabularies.

A head belongs to the API key that made it; no other key sees it. Lessons are parts of its document in the store, and
the columns of its record are all that other heads' requests read of it.

A change: lessons -> room -> `Solver` -> parts, then the document. What a change leaves that did not get so far is
removed by `remove_leftovers`.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from weakref import WeakValueDictionary

import orjson
import structlog

from lexiseg_model.errors import TeachingError
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.class_names import folded
from lexiseg_model.vocabulary.heads import MAX_CLASSES, MAX_PICTURES
from lexiseg_service.errors import (
    DeadlineExceeded,
    InvalidValue,
    ModelChanged,
    NameTaken,
    NotReady,
    PreconditionFailed,
    UnknownHead,
)
from lexiseg_service.gateway.heads.head import KeptPicture, NamedHead, bytes_of
from lexiseg_service.gateway.heads.solver import Solver, Widths
from lexiseg_service.gateway.preconditions import UNCONDITIONAL, Preconditions
from lexiseg_service.gateway.waits import GOING_DOWN, Shutdown
from lexiseg_service.question.validation import MAX_COMPARED
from lexiseg_service.records.documents import (
    HEADS,
    NAME,
    Documents,
    ParsedDocuments,
    check_name,
    name_of,
    no_room,
    open_documents,
    owner_of,
    slot_of,
)
from lexiseg_service.records.store import Amounts, Quota, Record
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.heads")
MAX_HEADS = 256  # of all users
MAX_HEADS_PER_KEY = 64
MAX_BYTES = 512 * 2**20  # of all users' lessons
MAX_SHARE = 0.5  # likewise, of the store: the rest is for documents, vocabularies and jobs
KEY_SHARE = 3 / 8  # of these bytes, for one key
MAX_PARSED_BYTES = 32 * 2**20  # in memory
MAX_LISTED_BYTES = 16 * 2**20  # likewise, of what `GET /v1/heads` shows
MAX_ATTEMPTS = 5  # of a write that conflicts with concurrent writes
WRITE_SECONDS = 120  # from the first lesson to the document: what is older and in no document was left by a failure
LEAVE_SECONDS = 2.0  # of the drain, for the answers after changes were ended


@dataclass(frozen=True)
class Change:
    model: str  # NAME@VERSION
    classes: tuple[ClassEntry, ...]  # further ones are added to the head's
    lessons: Mapping[str, bytes]  # of new pictures by key; each replaces that of the same key
    removed: Sequence[str] = ()  # keys of pictures
    whole: bool = False  # nothing of the head before stays
    keep_days: float | None = None  # from the change on; None: as before
    digest: str | None = None  # of the weights that lessons must be of; None: any
    widths: Widths = (None, None)  # of the model's lessons
    preconditions: Preconditions = UNCONDITIONAL
    client: str = ""  # key or address, which is served in turn with others
    deadline: float = math.inf  # time.monotonic(), after which nothing is changed


class Heads:
    """Finds, lists, writes and deletes heads by name and owner, the id of an API key."""

    def __init__(
        self, store: Documents, metrics: Metrics, shutdown: Shutdown | None = None, drain_seconds: float = math.inf
    ) -> None:
        self.store = store
        self._parsed = ParsedDocuments(MAX_PARSED_BYTES, _read)
        self._listed: Lru[str, tuple[Record, bytes]] = Lru(MAX_LISTED_BYTES, lambda _, entry: len(entry[1]))
        self._solver = Solver(metrics)
        self._metrics = metrics
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._writing: set[str] = set()  # slots of heads with lessons that no document names yet
        self._shutdown = shutdown or Shutdown()
        self._grace = max(0.0, drain_seconds - LEAVE_SECONDS)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes + self._parsed.weight + self._listed.weight

    def close(self) -> None:
        self._solver.close()

    async def taught(self, name: str, owner: str) -> NamedHead:
        """What a question asks about: the head of NAME, or NAME@VERSION also soon after another version came."""
        plain, at, version = name.partition("@")
        head = await self.find(plain, owner)
        return (head.as_of(version) or await self.find(name, owner)) if at else head

    async def find(self, name: str, owner: str) -> NamedHead:
        """The head of NAME or NAME@VERSION."""
        plain, at, version = name.partition("@")
        head = await self._at(slot_of(plain, owner)) if NAME.fullmatch(plain) else None
        if head is None:
            similar = get_close_matches(plain[:MAX_COMPARED], await self.names(owner), 1)
            hint = f"is {similar[0]!r} meant?" if similar else "`lexiseg heads list` or GET /v1/heads lists all"
            raise UnknownHead(f"head: there is none called {name[:MAX_COMPARED]!r}; {hint}")
        if at and version != head.solved.version:
            raise UnknownHead(
                f"head: {plain!r} has the version {head.solved.version} now, not {version[:MAX_COMPARED]!r}"
            )
        return head

    async def names(self, owner: str) -> list[str]:
        return sorted(name_of(slot) for slot in await self._rows_of(owner))

    async def list_all(self, owner: str) -> list[orjson.Fragment]:
        """The heads of an owner by name, each as the JSON of `schemas.HeadSummary`."""
        listed = []
        for slot, row in sorted((await self._rows_of(owner)).items()):
            entry = self._listed.get(slot)
            if entry is None or entry[0] != row:
                head = await self._at(slot)
                if head is None:
                    continue
                entry = row, await asyncio.to_thread(head.listed)
                self._listed.put(slot, entry)
            listed.append(orjson.Fragment(entry[1]))
        return listed

    async def before(
        self, name: str, owner: str, preconditions: Preconditions, *, is_new: bool = False
    ) -> NamedHead | None:
        """The head that a change of `name` begins from, None for a new one."""
        check_name(name)
        head = await self._at(slot_of(name, owner))
        if is_new and head is not None:
            raise _name_taken(name)
        preconditions.check(None if head is None else head.etag)
        return head

    async def change(self, name: str, owner: str, change: Change, *, is_new: bool) -> NamedHead:
        """Write a head; what others change at the same time stays. If this is cancelled, nothing is changed later."""
        slot = slot_of(name, owner)
        try:
            async with (
                self._shutdown.timeout_at(change.deadline, self._grace, GOING_DOWN) as wait,
                self._lock(f"client {change.client}"),
                self._lock(f"head {slot}"),
            ):
                return await self._change(slot, name, owner, change, is_new, wait)
        except TimeoutError:
            raise DeadlineExceeded(f"head {name!r}: it was not solved in time; nothing was changed") from None

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _change(
        self, slot: str, name: str, owner: str, change: Change, is_new: bool, wait: asyncio.Timeout
    ) -> NamedHead:
        end = wait.when()
        await self.store.remove_expired()
        for _ in range(MAX_ATTEMPTS):
            content = await self.store.read(slot)
            current = await self._parsed.parse(slot, content)
            if is_new and current is not None:
                raise _name_taken(name)
            change.preconditions.check(None if current is None else current.etag)
            before = None if change.whole else current
            now = f"{int(time.time()):08x}"  # parts have names that none had, and say when they were made
            parts = {now + secrets.token_hex(12): (key, lesson) for key, lesson in change.lessons.items()}
            pictures, classes = _pictures(before, change, parts), _classes(before, change)
            earlier = () if current is None else current.earlier_of_next()
            quota, rows = await self._quota(), await self._rows()
            room = Record(HEADS, slot, owner, nbytes=bytes_of(pictures, earlier))
            if excess := quota.excess([*rows.values()], room):  # before it is solved; the store decides
                raise no_room(HEADS, excess)
            if before is not None and (before.pictures, before.classes) == (pictures, classes):
                solved = before.solved
            else:
                contents = await self.contents(slot, pictures, parts)
                solved = await self._solver.solve(contents, classes, change.digest, change.widths, change.client)
            keep_days = before.keep_days if before and change.keep_days is None else change.keep_days
            earlier = tuple(version for version in earlier if version.exact_name != f"{name}@{solved.version}")
            head = NamedHead(
                *(name, owner, change.model, classes, pictures, solved, time.time(), keep_days), earlier=earlier
            )
            if not wait.expired():
                wait.reschedule(None)
            await asyncio.sleep(0)  # a request that has just ended goes no further; from here on it is not ended
            if await asyncio.shield(asyncio.ensure_future(self._commit(content, current, head, parts, quota))):
                return head
            wait.reschedule(end)
        raise PreconditionFailed(f"head {name!r}: others write it at the same time; send it again")

    async def _commit(
        self,
        content: bytes | None,
        current: NamedHead | None,
        head: NamedHead,
        parts: Mapping[str, tuple[str, bytes]],
        quota: Quota,
    ) -> bool:
        """Write lessons and the document of a head; False if there is another than `content` by now."""
        document = await asyncio.to_thread(head.stored)
        self._writing.add(head.slot)
        try:
            await self.store.write_parts(head.slot, {part: lesson for part, (_, lesson) in parts.items()})
            success = await self.store.replace(head.slot, content, document, head.record, quota)
        except (InvalidValue, NotReady):
            await self._forget(head.slot, [*parts])
            raise
        finally:
            self._writing.discard(head.slot)
        if success:
            self._parsed.put(head.slot, (document, head))
        in_use = {picture.part for picture in head.pictures}
        of_before = () if current is None else current.pictures
        await self._forget(
            head.slot, [each.part for each in of_before if each.part not in in_use] if success else [*parts]
        )
        return success

    async def _forget(self, slot: str, parts: Sequence[str]) -> None:
        with suppress(NotReady):  # `remove_leftovers` comes again
            await self.store.remove_parts(slot, parts)

    async def delete(self, name: str, owner: str, preconditions: Preconditions = UNCONDITIONAL) -> None:
        slot = slot_of(name, owner)
        for _ in range(MAX_ATTEMPTS):
            content = await self.store.read(slot)
            preconditions.check((await self.find(name, owner)).etag)
            if content is not None and await self.store.replace(slot, content, None):
                return
        raise PreconditionFailed(f"head {name!r}: others write it at the same time; send it again")

    async def delete_all(self, owner: str) -> int:
        return sum([await self.store.remove(slot) for slot in await self.store.rows() if owner_of(slot) == owner])

    async def remove_leftovers(self, owner: str | None = None) -> int:
        """Remove lessons that no head has, as a write that failed leaves them, and expired heads; returns their number.

        Of an owner also lessons of the last minutes; of all (None) not what may still be written.
        """
        await self._quota()
        rows, number = await self._rows(), 0
        for slot, names in (await self.store.part_names()).items():
            if slot in self._writing or (owner is not None and owner_of(slot) != owner):
                continue
            if slot in rows and rows[slot].state == str(len(names)):
                continue
            content = await self.store.read(slot)
            head = await self._parsed.parse(slot, content)
            if content is not None and head is None:
                continue  # of a later release
            in_use = {picture.part for picture in head.pictures} if head else set()
            left = [name for name in names if name not in in_use and (owner is not None or _is_old(name))]
            await self.store.remove_parts(slot, left)
            number += len(left)
        if owner is None:
            await self.store.remove_expired()
        return number

    async def _rows(self) -> dict[str, Record]:
        """The records of all heads by slot, without bodies; writes columns that an earlier release left out."""
        rows = {}
        for slot, row in (await self.store.rows()).items():
            if row.version:
                rows[slot] = row
            elif (document := await self.store.read(slot)) and (head := await self._parsed.parse(slot, document)):
                rows[slot] = head.record
                await self.store.write_row(head.record)
        self._metrics.heads.set(len(rows))
        self._metrics.head_bytes.set(sum(row.nbytes for row in rows.values()))
        return rows

    async def _rows_of(self, owner: str) -> dict[str, Record]:
        return {slot: row for slot, row in (await self._rows()).items() if row.owner == owner and not row.has_expired}

    async def _at(self, slot: str) -> NamedHead | None:
        content = await self.store.read(slot)
        head = await self._parsed.parse(slot, content)
        return None if head is None or head.has_expired else head

    async def contents(
        self, slot: str, pictures: Sequence[KeptPicture], new: Mapping[str, tuple[str, bytes]]
    ) -> list[bytes]:
        """The lessons of pictures: of `new` by their part, the others from the store."""
        earlier = [picture.part for picture in pictures if picture.part not in new]
        contents = await self.store.read_parts(slot, earlier)
        contents |= {part: lesson for part, (_, lesson) in new.items()}
        if missing := [picture.key for picture in pictures if picture.part not in contents]:
            now = await self._at(slot)
            if now is None or not set(earlier).issubset(picture.part for picture in now.pictures):
                raise NotReady(f"head {name_of(slot)!r}: others have changed it meanwhile; try again", 1)
            lost_ones = f"the lessons of {len(missing)} pictures, as of {missing[0]!r}, are lost"
            raise ModelChanged(f"head {name_of(slot)!r}: {lost_ones}; send these pictures again, or take them out")
        return [contents[picture.part] for picture in pictures]

    async def _quota(self) -> Quota:
        capacity = await self.store.capacity()
        most = MAX_BYTES if capacity is None else min(MAX_BYTES, int(MAX_SHARE * capacity))
        self._metrics.head_bytes_limit.set(most)
        of_key = Amounts(number=MAX_HEADS_PER_KEY, nbytes=int(KEY_SHARE * most))
        return Quota(of_key, Amounts(number=MAX_HEADS, nbytes=most))


def _is_old(part: str) -> bool:
    """Whether the document that names a part would be written by now; so are parts of earlier releases and drafts."""
    try:
        age = time.time() - int(part[:8], 16)
    except ValueError:
        return True
    return not -WRITE_SECONDS < age < WRITE_SECONDS


def _read(slot: str, content: bytes) -> NamedHead | None:
    """The head of a document; None if it is invalid."""
    try:
        return NamedHead.read(slot, content)
    except (ValueError, TypeError, LookupError, TeachingError) as error:
        logger.warning("head skipped: it is invalid", head=slot, error=type(error).__name__)
        return None


def _name_taken(name: str) -> NameTaken:
    return NameTaken(f"name: there is a head {name!r}; PUT /v1/heads/{name} changes it, DELETE removes it")


def _classes(current: NamedHead | None, change: Change) -> tuple[ClassEntry, ...]:
    before = () if current is None else current.classes
    names = {folded(entry.name) for entry in before}
    classes = (*before, *(entry for entry in change.classes if folded(entry.name) not in names))
    if len(classes) > MAX_CLASSES:
        raise InvalidValue.of("classes", f"{len(classes)} classes", f"at most {MAX_CLASSES} of a head")
    return classes


def _pictures(
    current: NamedHead | None, change: Change, parts: Mapping[str, tuple[str, bytes]]
) -> tuple[KeptPicture, ...]:
    """The pictures of a head after a change, the ones that stay first."""
    before = () if current is None else current.pictures
    if unknown := set(change.removed) - {picture.key for picture in before}:
        raise InvalidValue.of("remove", min(unknown), "keys of pictures of the head")
    replaced = {*change.removed, *change.lessons}
    new = [KeptPicture(key, part, len(lesson)) for part, (key, lesson) in parts.items()]
    pictures = (*(picture for picture in before if picture.key not in replaced), *new)
    if not pictures:
        raise InvalidValue.of("pictures", 0, "at least one reviewed picture; DELETE removes the head")
    if len(pictures) > MAX_PICTURES:
        raise InvalidValue.of("pictures", f"{len(pictures)} pictures", f"at most {MAX_PICTURES} of a head")
    return pictures


def open_heads(settings: Settings, metrics: Metrics, shutdown: Shutdown | None = None) -> Heads | None:
    """The heads of an installation, where vocabularies are kept; None where nothing of pictures may be kept."""
    if not settings.feature_cache_bytes:
        return None
    heads = Heads(open_documents(HEADS, settings, metrics), metrics, shutdown, settings.drain_seconds)
    metrics.watch_cache("heads", lambda: heads.nbytes)
    return heads
