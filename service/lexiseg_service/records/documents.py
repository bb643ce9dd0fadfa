"""What users keep under a name, as records: their vocabularies and heads.

The id of a record is the slot of its document: OWNER~NAME, or NAME if it is shared. A document may have parts: large
items that never change, written before the document that names them, and removed with it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar

import structlog

from lexiseg_model.files.atomic import private_folder
from lexiseg_model.resources.lru import Lru
from lexiseg_service.errors import InvalidValue, NotReady
from lexiseg_service.question.validation import off_event_loop
from lexiseg_service.records.redis_store import RedisStore
from lexiseg_service.records.sqlite import FILE, SqliteStore, opening
from lexiseg_service.records.store import Excess, Quota, Record, Store, StoreAway, Transaction
from lexiseg_service.redis_link import open_link
from lexiseg_service.retries import for_ever
from lexiseg_service.settings import Settings
from lexiseg_service.watch.checks import Check, check_folder
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.records")
T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SLOT = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63}~)?" + NAME.pattern)
VOCABULARIES, HEADS = "vocabulary", "head"  # kinds of records
PLURALS = {VOCABULARIES: "vocabularies", HEADS: "heads"}
REFRESH_SECONDS = 30.0
MAX_DOCUMENTS = 4  # in one call: of up to 3 MB each, within its timeout
MAX_PARTS = 8  # likewise: of up to 1 MB each
LARGE_TIMEOUT_SECONDS = 2.0  # for one read or write of some MB; smaller calls must not wait so long for a dead Redis


def check_name(name: str) -> None:
    """Raise InvalidValue: nothing can be kept under that name."""
    if not NAME.fullmatch(name):
        raise InvalidValue.of("name", name, "1 to 64 of a-z, 0-9 and -, not beginning with -")


def slot_of(name: str, owner: str) -> str:
    """The slot of what only its owner has; without an owner, of what is shared."""
    return f"{owner}~{name}" if owner else name


def owner_of(slot: str) -> str:
    """The owner of what is not shared; "" of other slots."""
    return slot.rpartition("~")[0]


def name_of(slot: str) -> str:
    return slot.rpartition("~")[2]


def no_room(kind: str, excess: Excess) -> InvalidValue:
    whom = " of one key" if excess.is_owners else ""
    if excess.amount == "number":
        expected = f"at most {excess.limit} {PLURALS[kind]}{whom}; delete one first"
        return InvalidValue.of("name", "one more", expected)
    expected = f"at most {excess.limit:,} bytes of lessons{whom}; take out pictures, or delete a head"
    return InvalidValue.of("pictures", f"{excess.used + excess.wanted:,} bytes", expected)


class Documents:
    """The documents of one kind. Writes are compare-and-swap: of two concurrent writers one wins.

    Each process keeps a snapshot: reads continue while the store is away, writes fail with `NotReady`. `large` is the
    same store with time for documents that are written and for parts; /readyz tries the `checks`.
    """

    def __init__(
        self, kind: str, store: Store, large: Store | None = None, checks: Mapping[str, Check] | None = None
    ) -> None:
        self.checks = checks or {}
        self._kind = kind
        self._store = store
        self._large = large or store
        self._documents: dict[str, bytes] = {}
        self._rows: dict[str, Record] = {}
        self._is_read = False  # the snapshot, at least once
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def nbytes(self) -> int:
        return sum(map(len, tuple(self._documents.values())))

    async def read(self, slot: str) -> bytes | None:
        if not SLOT.fullmatch(slot):
            return None
        try:
            record = await self._view(methodcaller("read", self._kind, slot))
        except StoreAway:
            if not self._is_read:
                raise NotReady(f"{self._kind} {name_of(slot)!r}: the store cannot be reached yet; try again") from None
        else:
            self._set(slot, record)
        return self._documents.get(slot)

    async def read_all(self) -> dict[str, bytes]:
        """All documents by slot; of the snapshot while the store is away. A record with a version is read once."""
        with suppress(StoreAway):
            rows = await self._listed()
            current = {slot for slot, row in rows.items() if row.version and self._rows.get(slot) == row}
            new = [slot for slot in rows if slot not in current or slot not in self._documents]
            for slot in self._documents.keys() - rows.keys():
                self._set(slot, None)
            for start in range(0, len(new), MAX_DOCUMENTS):
                for record in await self._view(methodcaller("records", self._kind, new[start : start + MAX_DOCUMENTS])):
                    self._set(record.id, record)
            self._rows, self._is_read = rows, True
        return dict(self._documents)

    async def rows(self) -> dict[str, Record]:
        """The records of all documents by slot, without bodies; of the snapshot while the store is away."""
        with suppress(StoreAway):
            return await self._listed()
        return dict(self._rows)

    async def _listed(self) -> dict[str, Record]:
        rows: list[Record] = await self._view(methodcaller("rows", self._kind))
        return {row.id: replace(row, owner=row.owner or owner_of(row.id)) for row in rows if SLOT.fullmatch(row.id)}

    async def write_row(self, row: Record) -> None:
        """Write the columns of a record of an earlier release, which has none."""

        def write(step: Transaction) -> None:
            record = step.read(self._kind, row.id)
            if record is not None and not record.version:
                step.write(replace(row, body=record.body))

        with suppress(StoreAway):
            await asyncio.to_thread(self._large.transact, write)

    async def capacity(self) -> int | None:
        """The bytes that the store has, with what others keep in it; None: unknown."""
        with suppress(StoreAway):
            return await asyncio.to_thread(self._store.capacity)
        return None

    async def replace(
        self, slot: str, old: bytes | None, new: bytes | None, record: Record | None = None, quota: Quota | None = None
    ) -> bool:
        """Replace a document (None: nothing is there), or remove it and its parts; False if another one is there.

        Raises InvalidValue: `quota` leaves no room.
        """
        document = replace(record or Record(self._kind, slot, owner_of(slot)), body=new or b"")

        def step(step: Transaction) -> bool | InvalidValue:
            current = step.read(self._kind, slot)
            content = None if current is None else current.body
            if content not in (old, new):  # new: a call is repeated if its connection was lost
                self._set(slot, current)  # for the next attempt, while small reads still fail
                return False
            if new is None:
                step.remove(self._kind, slot)
                return True
            if quota and (excess := quota.excess(step.rows(self._kind), document)):
                return no_room(self._kind, excess)
            step.write(document)
            return True

        outcome = await self._change(slot, step)
        if isinstance(outcome, InvalidValue):
            raise outcome
        if outcome:
            self._set(slot, None if new is None else document)
        return bool(outcome)

    async def remove(self, slot: str) -> bool:
        """Remove what is there, with its parts; False if nothing is. Raises NotReady: nothing can be written now."""

        def remove(step: Transaction) -> bool:
            is_there = step.read(self._kind, slot) is not None
            step.remove(self._kind, slot)
            return is_there

        is_removed = await self._change(slot, remove)
        self._set(slot, None)
        return is_removed

    async def remove_expired(self) -> None:

        def remove(step: Transaction) -> None:
            for row in step.rows(self._kind):
                if row.has_expired:
                    step.remove(self._kind, row.id)

        if any(row.has_expired for row in (await self.rows()).values()):
            await self._change("*", remove)

    async def part_names(self) -> dict[str, list[str]]:
        """The names of all parts by slot, also of the ones that no document names. Raises NotReady."""
        try:
            slots = await asyncio.to_thread(self._large.view, methodcaller("ids_with_items", self._kind))
            names = {
                slot: await asyncio.to_thread(self._large.view, methodcaller("item_names", self._kind, slot))
                for slot in slots
            }
        except StoreAway as away:
            raise NotReady(f"the {self._kind} store cannot be read: {away}") from None
        return {slot: parts for slot, parts in names.items() if parts}

    async def read_parts(self, slot: str, names: Sequence[str]) -> dict[str, bytes]:
        """Parts of a document by name; missing ones are left out. Raises NotReady: nothing can be read now."""
        parts: dict[str, bytes] = {}
        try:
            for start in range(0, len(names), MAX_PARTS):
                read = methodcaller("items", self._kind, slot, names[start : start + MAX_PARTS])
                parts |= await asyncio.to_thread(self._large.view, read)
            if len(parts) < len(names):  # of an earlier document, where small reads have failed
                self._set(slot, await asyncio.to_thread(self._large.view, methodcaller("read", self._kind, slot)))
        except StoreAway:
            raise NotReady(f"{self._kind} {name_of(slot)!r}: the store cannot be reached; try again") from None
        return parts

    async def write_parts(self, slot: str, parts: Mapping[str, bytes]) -> None:
        """Add parts of a document, under names that it never had. Raises NotReady: nothing can be written now."""
        names = [*parts]
        for start in range(0, len(names), MAX_PARTS):
            some = {name: parts[name] for name in names[start : start + MAX_PARTS]}
            await self._change(slot, methodcaller("write_items", self._kind, slot, some))

    async def remove_parts(self, slot: str, names: Sequence[str]) -> None:
        """Remove parts. Raises NotReady: nothing can be removed now."""

        def remove(step: Transaction) -> None:
            step.remove_items(self._kind, slot, names)
            if not {*step.item_names(self._kind, slot)} - {*names} and step.read(self._kind, slot) is None:
                step.remove(self._kind, slot)

        if names:
            await self._change(slot, remove)

    async def start(self) -> None:
        """Read the snapshot, then again every `REFRESH_SECONDS`; a store that is away does not block the start."""
        await self.read_all()
        self._refreshing = asyncio.create_task(for_ever(self.read_all, REFRESH_SECONDS, REFRESH_SECONDS))

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._store.close()
        if self._large is not self._store:
            self._large.close()

    async def _view(self, read: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._store.view, read)

    async def _change(self, slot: str, work: Callable[[Transaction], T]) -> T:
        try:
            return await asyncio.to_thread(self._large.transact, work)
        except StoreAway as away:
            what = f"{self._kind} {name_of(slot)!r}"
            raise NotReady(f"{what}: the store cannot be written: {away}; check whether it was changed") from None

    def _set(self, slot: str, record: Record | None) -> None:
        """Follow the store; readers hold on to an equal document."""
        if record is None:
            self._documents.pop(slot, None)
        elif self._documents.get(slot) != record.body:
            self._documents[slot] = record.body


class ParsedDocuments(Lru[str, tuple[bytes, T | None]]):
    """LRU of documents with what they are parsed to, by slot; None for invalid ones. Bytes are of the parsed ones."""

    def __init__(self, max_bytes: int, parse: Callable[[str, bytes], T | None]) -> None:
        super().__init__(max_bytes, lambda _, entry: getattr(entry[1], "nbytes", 0))
        self._parse = parse

    async def parse(self, slot: str, content: bytes | None) -> T | None:
        """What a document is parsed to; None where there is none or it is invalid."""
        if content is None:
            return None
        entry = self.get(slot)
        if entry is None or entry[0] != content:
            entry = content, await off_event_loop(len(content), partial(self._parse, slot, content))
            self.put(slot, entry)
        return entry[1]


def open_documents(kind: str, settings: Settings, metrics: Metrics) -> Documents:
    """The documents of an installation: in Redis if there is one, else in the state directory, else in memory."""
    name = PLURALS[kind]
    if settings.redis_url is not None:
        store = RedisStore(open_link(settings, name, metrics))
        large = RedisStore(open_link(settings, f"{name}, large", metrics, LARGE_TIMEOUT_SECONDS))
        return Documents(kind, store, large, {name: store.check})
    if settings.state_dir is None:
        return Documents(kind, SqliteStore(None))
    with opening(settings.state_dir / FILE) as file:
        import_folder(settings.state_dir / name, kind, file)
    return Documents(kind, file, checks={"state directory": partial(check_folder, settings.state_dir)})


def import_folder(folder: Path, kind: str, store: Store) -> None:
    """Move the documents of 0.4, a JSON file each, and its parts in a folder. Raises StoreAway, OSError."""
    if folder.is_dir():
        private_folder(folder)
    for path in sorted(folder.glob("*.json")):
        slot = path.stem
        if not SLOT.fullmatch(slot) or not path.is_file():
            logger.warning(f"file skipped: not the name of a {kind}", file=path.name)
            continue
        parts = {part.name: part.read_bytes() for part in (folder / slot).glob("*") if part.suffix != ".new"}

        def write(step: Transaction, path: Path = path, parts: Mapping[str, bytes] = parts) -> None:
            if step.read(kind, path.stem) is None:
                step.write(Record(kind, path.stem, owner_of(path.stem), body=path.read_bytes()))
                step.write_items(kind, path.stem, parts)

        store.transact(write)
        path.unlink()
        shutil.rmtree(folder / slot, ignore_errors=True)
    with suppress(OSError):  # there is none, or files stay
        folder.rmdir()


def run_with(documents: Documents, work: Awaitable[T]) -> T:
    """The result of `work`, outside of an event loop; then the documents' store is closed."""

    async def run() -> T:
        try:
            return await work
        finally:
            await documents.close()

    return asyncio.run(run())
