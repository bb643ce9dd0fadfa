"""Stores of what users keep: documents as bytes by slot, in memory, in a folder, or in Redis.

A document may have parts: large contents that never change, written before the document that names them, read only
when they are needed, and removed with it. And an index row: a few bytes that its writer chose, which are read of all
documents at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, TypeVar

import structlog

from lexiseg_model.files.atomic import PRIVATE, private_folder, write_durably
from lexiseg_service.errors import NotReady
from lexiseg_service.redis_link import RedisAway, RedisLink, open_link, try_write
from lexiseg_service.settings import Settings
from lexiseg_service.watch.checks import Check, check_folder
from lexiseg_service.watch.metrics import Metrics

logger = structlog.get_logger("lexiseg.stores")
T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SLOT = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63}~)?" + NAME.pattern)  # OWNER~NAME, or NAME if shared
MAX_SLOTS = 4096  # some hundred are kept
REFRESH_SECONDS = 30.0
MAX_DOCUMENTS = 4  # in one call: of up to 3 MB each, within its timeout
MAX_PARTS = 8  # likewise: of up to 1 MB each
MAX_REMOVED = 1000  # names of parts that a script takes
# MGET instead of GET: a value of another type counts as absent instead of failing.
# A value that is already new is no conflict: a call is retried when its connection was lost before the answer.
# KEYS: document, index, rows, parts. ARGV: old ("" is absent), new ("" deletes), name, row.
# Nothing of a deletion needs memory, so that it works in a full Redis.
REPLACE = """
local current = redis.call('MGET', KEYS[1])[1] or ''
if current ~= ARGV[1] and current ~= ARGV[2] then return 0 end
if ARGV[2] == '' then
  redis.call('UNLINK', KEYS[1], KEYS[4])
  redis.call('HDEL', KEYS[3], ARGV[3])
  redis.call('SREM', KEYS[2], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('SADD', KEYS[2], ARGV[3])
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], ARGV[3], ARGV[4]) end
end
return 1
"""
# A slot without a document and parts leaves the index. KEYS as above. ARGV: name, parts.
REMOVE_PARTS = """
redis.call('HDEL', KEYS[4], unpack(ARGV, 2))
if redis.call('EXISTS', KEYS[1], KEYS[4]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
"""
LARGE_TIMEOUT_SECONDS = 2.0  # for one read or write of some MB; smaller calls must not wait so long for a dead Redis


@dataclass(frozen=True)
class Kind:
    """What a store keeps: the name of one in messages, and of all, which is also that of their folder."""

    name: str
    plural: str

    @property
    def prefix(self) -> str:
        """Of a document's key in Redis."""
        return f"lexiseg:{self.name}:"

    @property
    def index(self) -> str:
        """Key in Redis of the set of all slots; scanning the key space would take too long."""
        return f"lexiseg:{self.plural}"

    @property
    def rows(self) -> str:
        """Key in Redis of the hash of all rows."""
        return f"{self.index}:rows"

    def parts(self, slot: str) -> str:
        """Key in Redis of the hash of a document's parts; no slot has a colon."""
        return f"{self.prefix}parts:{slot}"

    def keys(self, slot: str) -> tuple[str, str, str, str]:
        """Of the document, the index, the rows and the parts, for scripts."""
        return self.prefix + slot, self.index, self.rows, self.parts(slot)


VOCABULARIES = Kind("vocabulary", "vocabularies")
HEADS = Kind("head", "heads")


def slot_of(name: str, owner: str) -> str:
    """The slot of what only its owner has; without an owner, of what is shared."""
    return f"{owner}~{name}" if owner else name


class Store:
    """Documents in memory. Writes are compare-and-swap: of two concurrent writers one wins."""

    def __init__(self, documents: dict[str, bytes] | None = None) -> None:
        self._documents = dict(documents or {})
        self._rows: dict[str, bytes] = {}
        self._parts: dict[str, dict[str, bytes]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the documents and parts in memory."""
        parts = [content for of_slot in tuple(self._parts.values()) for content in tuple(of_slot.values())]
        return sum(map(len, (*tuple(self._documents.values()), *parts)))

    async def read(self, slot: str) -> bytes | None:
        """A document, or None."""
        return self._documents.get(slot)

    async def read_all(self) -> dict[str, bytes]:
        """All documents by slot."""
        return dict(self._documents)

    async def rows(self) -> dict[str, bytes]:
        """The rows of all documents by slot; empty where none was written.

        A slot that has parts and no document may be among them.
        """
        return {slot: self._rows.get(slot, b"") for slot in self._documents}

    async def keep_row(self, slot: str, row: bytes) -> None:
        """Write the row of a document that has none."""
        self._rows.setdefault(slot, row)

    async def capacity(self) -> int | None:
        """The bytes that all documents and parts may take, with what others keep in the same place; None: unknown."""
        return None

    async def replace(self, slot: str, old: bytes | None, new: bytes | None, row: bytes = b"") -> bool:
        """Replace `old` by `new` (None: absent, and so are its row and parts); False if something else is there.

        Raises:
            NotReady: nothing can be written now.
        """
        if self._documents.get(slot) != old:
            return False
        self._set(slot, new, row)
        return True

    async def part_names(self) -> dict[str, list[str]]:
        """The names of all parts by slot, also of the ones that no document names.

        Raises:
            NotReady: nothing can be read now.
        """
        return {slot: [*parts] for slot, parts in self._parts.items() if parts}

    async def read_parts(self, slot: str, names: Sequence[str]) -> dict[str, bytes]:
        """Parts of a document by name; missing ones are left out.

        Raises:
            NotReady: nothing can be read now.
        """
        cached = self._parts.get(slot, {})
        return {name: cached[name] for name in names if name in cached}

    async def write_parts(self, slot: str, parts: Mapping[str, bytes]) -> None:
        """Add parts of a document, under names that it never had.

        Raises:
            NotReady: nothing can be written now.
        """
        self._parts.setdefault(slot, {}).update(parts)

    async def remove_parts(self, slot: str, names: Sequence[str]) -> None:
        """Remove parts.

        Raises:
            NotReady: nothing can be removed now.
        """
        for name in names:
            self._parts.get(slot, {}).pop(name, None)

    @property
    def checks(self) -> Mapping[str, Check]:
        """What /readyz tries, by name."""
        return {}

    async def start(self) -> None:
        """Begin to read what other gateways write."""

    async def close(self) -> None:
        """Close the connections."""

    def _set(self, slot: str, content: bytes | None, row: bytes = b"") -> None:
        if content is None:
            for cache in (self._documents, self._rows, self._parts):
                cache.pop(slot, None)
        else:
            self._documents[slot], self._rows[slot] = content, row


class DirectoryStore(Store):
    """One JSON file per document, with its parts in a folder of its slot. For one process at a time.

    Documents are read from memory and written through to the disk.

    Raises:
        OSError: the folder cannot be created or listed.
    """

    def __init__(self, folder: Path, kind: Kind = VOCABULARIES) -> None:
        private_folder(folder)
        super().__init__(_read_folder(folder, kind))
        self._folder = folder
        self._kind = kind
        self._writing = asyncio.Lock()

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"state directory": partial(check_folder, self._folder)}

    async def replace(self, slot: str, old: bytes | None, new: bytes | None, row: bytes = b"") -> bool:
        """As `Store.replace`, on the disk first.

        Raises:
            NotReady: the disk takes no writes.
        """
        # Shielded with its lock: if the caller is cancelled, memory still follows the disk, and the next writer waits.
        return await asyncio.shield(asyncio.ensure_future(self._replace(slot, old, new, row)))

    async def _replace(self, slot: str, old: bytes | None, new: bytes | None, row: bytes) -> bool:
        async with self._writing:
            if self._documents.get(slot) != old:
                return False
            file = self._folder / f"{slot}.json"
            await self._on_disk(slot, partial(self._remove, slot) if new is None else partial(_write, file, new))
            self._set(slot, new, row)
            return True

    def _remove(self, slot: str) -> None:
        (self._folder / f"{slot}.json").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / slot)

    async def part_names(self) -> dict[str, list[str]]:
        """As `Store.part_names`; among them are drafts that a killed process left."""

        def read() -> dict[str, list[str]]:
            folders = [path for path in self._folder.iterdir() if path.is_dir() and SLOT.fullmatch(path.name)]
            return {folder.name: os.listdir(folder) for folder in folders}

        return await self._on_disk("", read)

    async def start(self) -> None:
        """Remove what a killed process left of documents."""

        def remove() -> None:
            for draft in self._folder.glob("*.json.new"):
                draft.unlink(missing_ok=True)

        await self._on_disk("", remove)

    async def read_parts(self, slot: str, names: Sequence[str]) -> dict[str, bytes]:
        def read() -> dict[str, bytes]:
            parts = {}
            for name in names:
                with suppress(OSError):
                    parts[name] = (self._folder / slot / name).read_bytes()
            return parts

        return await asyncio.to_thread(read)

    async def write_parts(self, slot: str, parts: Mapping[str, bytes]) -> None:
        def write() -> None:
            private_folder(self._folder / slot)
            for name, content in parts.items():
                _write(self._folder / slot / name, content)

        await self._on_disk(slot, write)

    async def remove_parts(self, slot: str, names: Sequence[str]) -> None:
        def remove() -> None:
            for name in names:
                (self._folder / slot / name).unlink(missing_ok=True)
            with suppress(OSError):  # it has more parts
                (self._folder / slot).rmdir()

        await self._on_disk(slot, remove)

    async def _on_disk(self, slot: str, change: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(change)
        except OSError as error:
            kind = self._kind.name
            logger.error("not written", kind=kind, slot=slot, error=error.strerror)
            raise NotReady(f"{kind} {slot!r} cannot be written: {error.strerror}; nothing was changed") from None


def _write(file: Path, content: bytes) -> None:
    write_durably(file, lambda draft: draft.write_bytes(content), PRIVATE)


def _read_folder(folder: Path, kind: Kind) -> dict[str, bytes]:
    documents = {}
    for path in sorted(folder.glob("*.json")):
        if not SLOT.fullmatch(path.stem):
            logger.warning(f"file skipped: not the name of a {kind.name}", file=path.name)
            continue
        try:
            documents[path.stem] = path.read_bytes()
        except OSError as error:
            logger.warning("file skipped: it cannot be read", file=path.name, error=error.strerror)
    return documents


class RedisStore(Store):
    """Shared by all gateways, without a TTL (run Redis with `volatile-lru`).

    Each gateway keeps a snapshot: reads continue while Redis is away, writes fail with 503. `large` is the link for
    documents that are written and for parts; None: the same.
    """

    def __init__(self, link: RedisLink, kind: Kind = VOCABULARIES, large: RedisLink | None = None) -> None:
        super().__init__()  # the snapshot
        self._link = link
        self._large = large or link
        self._kind = kind
        self._is_read = False  # the snapshot, at least once
        self._refreshing: asyncio.Task[None] | None = None

    async def read(self, slot: str) -> bytes | None:
        """A document, or None.

        Raises:
            NotReady: Redis has not answered since the start.
        """
        if not SLOT.fullmatch(slot):
            return None
        try:
            (content,) = await self._documents_of([slot])
        except RedisAway:
            if not self._is_read:
                raise NotReady(f"{self._kind.name} {slot!r}: the store cannot be reached yet; try again") from None
            return self._documents.get(slot)
        if self._documents.get(slot) != content:
            self._set(slot, content)
        return self._documents.get(slot)  # the object that readers already hold

    async def read_all(self) -> dict[str, bytes]:
        """Every document by its slot; of the snapshot while Redis is away. Equal rows are of equal documents."""
        with suppress(RedisAway):
            rows, before = await self._link.ask(self._index), self._documents
            documents = {slot: before[slot] for slot, row in rows.items() if self._is_current(slot, row)}
            slots = [slot for slot in rows if slot not in documents]
            for start in range(0, len(slots), MAX_DOCUMENTS):
                part = slots[start : start + MAX_DOCUMENTS]
                for slot, content in zip(part, await self._documents_of(part), strict=True):
                    if content is not None:
                        documents[slot] = before[slot] if before.get(slot) == content else content
            self._documents, self._rows, self._is_read = documents, rows, True
        return dict(self._documents)

    def _is_current(self, slot: str, row: bytes) -> bool:
        return bool(row) and self._rows.get(slot) == row and slot in self._documents

    async def rows(self) -> dict[str, bytes]:
        """As `Store.rows`; of the snapshot while Redis is away."""
        with suppress(RedisAway):
            return await self._link.ask(self._index)
        return dict(self._rows)

    async def keep_row(self, slot: str, row: bytes) -> None:
        with suppress(RedisAway):
            await self._link.ask(methodcaller("hsetnx", self._kind.rows, slot, row))

    async def capacity(self) -> int | None:
        """`maxmemory` of Redis."""
        with suppress(RedisAway):
            about: dict[str, Any] = await self._link.ask(methodcaller("info", "memory"))
            return int(about.get("maxmemory", 0)) or None
        return None

    async def replace(self, slot: str, old: bytes | None, new: bytes | None, row: bytes = b"") -> bool:
        """As `Store.replace`.

        Raises:
            NotReady: Redis is away, or takes no writes.
        """
        arguments = (*self._kind.keys(slot), old or b"", new or b"", slot, row)
        replaced = bool(await self._change(slot, methodcaller("eval", REPLACE, 4, *arguments)))
        if replaced:
            self._set(slot, new, row)
        return replaced

    async def part_names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for slot in await self._change("*", self._index):  # an erasure must know all
            fields: list[bytes] = await self._change(slot, methodcaller("hkeys", self._kind.parts(slot)))
            names[slot] = [name.decode("latin-1") for name in fields]
        return {slot: parts for slot, parts in names.items() if parts}

    async def read_parts(self, slot: str, names: Sequence[str]) -> dict[str, bytes]:
        parts: dict[str, bytes] = {}
        for start in range(0, len(names), MAX_PARTS):
            some = names[start : start + MAX_PARTS]
            try:
                contents = await self._large.ask(methodcaller("hmget", self._kind.parts(slot), some))
            except RedisAway:
                raise NotReady(f"{self._kind.name} {slot!r}: the store cannot be reached; try again") from None
            parts |= {name: content for name, content in zip(some, contents, strict=True) if content is not None}
        return parts

    async def write_parts(self, slot: str, parts: Mapping[str, bytes]) -> None:
        items = [*parts.items()]
        for start in range(0, len(items), MAX_PARTS):
            await self._change(slot, partial(self._write_parts, slot, dict(items[start : start + MAX_PARTS])))

    def _write_parts(self, slot: str, parts: Mapping[str, bytes], client: Any) -> None:
        pipe = (
            client.pipeline()
        )  # in the index as long as there are parts, so that what a killed gateway leaves is known
        pipe.sadd(self._kind.index, slot)
        pipe.hset(self._kind.parts(slot), mapping=parts)
        pipe.execute()

    async def remove_parts(self, slot: str, names: Sequence[str]) -> None:
        for start in range(0, len(names), MAX_REMOVED):
            arguments = (*self._kind.keys(slot), slot, *names[start : start + MAX_REMOVED])
            await self._change(slot, methodcaller("eval", REMOVE_PARTS, 4, *arguments))

    @property
    def checks(self) -> Mapping[str, Check]:
        return {self._kind.plural: partial(self._link.call, try_write)}

    async def start(self) -> None:
        """Read the snapshot, then again every `REFRESH_SECONDS`; a Redis that is away does not block the start."""
        await self.read_all()
        self._refreshing = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        """Close the connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._link.close()
        self._large.close()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.read_all()

    async def _change(self, slot: str, call: Callable[[Any], Any]) -> Any:
        try:
            return await self._large.ask(call)
        except RedisAway as away:
            what = f"{self._kind.name} {slot!r}"
            raise NotReady(f"{what}: the store cannot be written: {away}; check whether it was changed") from None

    def _index(self, client: Any) -> dict[str, bytes]:
        """The rows of all slots, empty where there is none. Raises ValueError: more than any service has."""
        members: set[bytes] = client.smembers(self._kind.index)
        rows: dict[bytes, bytes] = client.hgetall(self._kind.rows)
        if len(members) > MAX_SLOTS:
            raise ValueError(f"{len(members):,} {self._kind.plural}, at most {MAX_SLOTS:,} are read")
        slots = {slot: member for member in members if SLOT.fullmatch(slot := member.decode("latin-1"))}
        return {slot: rows.get(slots[slot], b"") for slot in sorted(slots)}

    async def _documents_of(self, slots: Sequence[str]) -> list[bytes | None]:
        documents: list[bytes | None] = await self._link.ask(
            methodcaller("mget", [self._kind.prefix + slot for slot in slots])
        )
        return documents


def open_store(kind: Kind, settings: Settings, metrics: Metrics) -> Store:
    """The store of an installation: in Redis if there is one, else in the state directory, else in memory.

    Raises:
        OSError: the state directory cannot be used.
    """
    if settings.redis_url is not None:
        large = open_link(settings, f"{kind.plural}, large", metrics, LARGE_TIMEOUT_SECONDS)
        return RedisStore(open_link(settings, kind.plural, metrics), kind, large)
    if settings.state_dir is not None:
        private_folder(settings.state_dir)
        return DirectoryStore(settings.state_dir / kind.plural, kind)
    return Store()


def run_with(store: Store, work: Awaitable[T]) -> T:
    """The result of `work`, outside of an event loop; then the store is closed."""

    async def run() -> T:
        try:
            return await work
        finally:
            await store.close()

    return asyncio.run(run())
