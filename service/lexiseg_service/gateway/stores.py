"""Stores of users' vocabularies: documents as bytes by slot, in memory, in a folder, or in Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog

from lexiseg_model.files.atomic import PRIVATE, private_folder, write_durably
from lexiseg_service.errors import NotReady
from lexiseg_service.redis_link import RedisAway, RedisLink

if TYPE_CHECKING:
    import redis

logger = structlog.get_logger("lexiseg.vocabularies")
T = TypeVar("T")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SLOT = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63}~)?" + NAME.pattern)  # OWNER~NAME, or NAME if shared
PREFIX = "lexiseg:vocabulary:"
INDEX = "lexiseg:vocabularies"  # the set of all names; scanning the key space would take too long
MAX_NAMES = 4096  # `collection` stores some hundred
REFRESH_SECONDS = 30.0
MAX_DOCUMENTS = 4  # in one answer: of up to 3 MB each, within the timeout of one call
# MGET instead of GET: a value of another type counts as absent instead of failing.
# A value that is already new is no conflict: a call is retried when its connection was lost before the answer.
# KEYS: document, index. ARGV: old ("" is absent), new ("" deletes), name.
REPLACE = """
local current = redis.call('MGET', KEYS[1])[1] or ''
if current ~= ARGV[1] and current ~= ARGV[2] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('SADD', KEYS[2], ARGV[3])
end
return 1
"""


def slot_of(name: str, owner: str) -> str:
    """The slot of what is an owner's alone; without an owner, of what is shared."""
    return f"{owner}~{name}" if owner else name


class Store:
    """Documents in memory. Writes are compare-and-swap: of two concurrent writers one wins."""

    def __init__(self, documents: dict[str, bytes] | None = None) -> None:
        self._documents = dict(documents or {})

    @property
    def nbytes(self) -> int:
        """Bytes of the documents in memory."""
        return sum(map(len, tuple(self._documents.values())))

    async def read(self, name: str) -> bytes | None:
        """A document, or None."""
        return self._documents.get(name)

    async def read_all(self) -> dict[str, bytes]:
        """All documents by slot."""
        return dict(self._documents)

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Replace `old` by `new` (None: absent); False if something else is there.

        Raises:
            NotReady: nothing can be written now.
        """
        if self._documents.get(name) != old:
            return False
        self._set(name, new)
        return True

    def degraded(self) -> str | None:
        """What is degraded, for /readyz."""
        return None

    async def start(self) -> None:
        """Begin to read what other gateways write."""

    async def close(self) -> None:
        """Close the connections."""

    def _set(self, name: str, content: bytes | None) -> None:
        if content is None:
            self._documents.pop(name, None)
        else:
            self._documents[name] = content


class DirectoryStore(Store):
    """One JSON file per document: reads from memory, writes through to the disk. For one process at a time.

    Raises:
        OSError: the folder cannot be created or listed.
    """

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        super().__init__(_read_folder(folder))
        self._folder = folder
        self._writing = asyncio.Lock()

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """As `Store.replace`, on the disk first.

        Raises:
            NotReady: the disk takes no writes.
        """
        # Shielded with its lock: if the caller is cancelled, memory still follows the disk, and the next writer waits.
        return await asyncio.shield(asyncio.ensure_future(self._replace(name, old, new)))

    async def _replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        async with self._writing:
            if self._documents.get(name) != old:
                return False
            await self._write_through(name, new)
            return True

    async def _write_through(self, name: str, content: bytes | None) -> None:
        target = self._folder / f"{name}.json"
        try:
            if content is None:
                await asyncio.to_thread(target.unlink, missing_ok=True)
            else:
                await asyncio.to_thread(write_durably, target, lambda draft: draft.write_bytes(content), PRIVATE)
        except OSError as error:
            logger.error("vocabulary not written", vocabulary=name, error=error.strerror)
            raise NotReady(f"vocabulary {name!r} cannot be written: {error.strerror}; nothing was changed") from None
        self._set(name, content)


def _read_folder(folder: Path) -> dict[str, bytes]:
    documents = {}
    for path in sorted(folder.glob("*.json")):
        if not SLOT.fullmatch(path.stem):
            logger.warning("file skipped: not the name of a vocabulary", file=path.name)
            continue
        try:
            documents[path.stem] = path.read_bytes()
        except OSError as error:
            logger.warning("file skipped: it cannot be read", file=path.name, error=error.strerror)
    return documents


class RedisStore(Store):
    """Shared by all gateways, without a TTL (run Redis with `volatile-lru`).

    Each gateway keeps a snapshot: reads continue while Redis is away, writes fail with 503.
    """

    def __init__(self, link: RedisLink) -> None:
        super().__init__()  # the snapshot
        self._link = link
        self._is_read = False  # the snapshot, at least once
        self._refreshing: asyncio.Task[None] | None = None

    async def read(self, name: str) -> bytes | None:
        """A document, or None.

        Raises:
            NotReady: Redis has not answered since the start.
        """
        if not SLOT.fullmatch(name):
            return None
        try:
            (content,) = await self._ask(lambda client: _documents(client, [name]))
        except RedisAway:
            if not self._is_read:
                raise NotReady(f"vocabulary {name!r}: the store cannot be reached yet; try again") from None
            return self._documents.get(name)
        if self._documents.get(name) != content:
            self._set(name, content)
        return self._documents.get(name)  # the object that readers already hold

    async def read_all(self) -> dict[str, bytes]:
        """Every document by its name; those of the snapshot while Redis is away."""
        with suppress(RedisAway):
            names = await self._ask(_names)
            documents: dict[str, bytes] = {}
            before = self._documents
            for start in range(0, len(names), MAX_DOCUMENTS):
                part = names[start : start + MAX_DOCUMENTS]
                contents = await self._ask(partial(_documents, names=part))
                for name, content in zip(part, contents, strict=True):
                    if content is not None:
                        documents[name] = before[name] if before.get(name) == content else content
            self._documents, self._is_read = documents, True
        return dict(self._documents)

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """As `Store.replace`.

        Raises:
            NotReady: Redis is away, or takes no writes.
        """
        arguments = (PREFIX + name, INDEX, old or b"", new or b"", name)
        try:
            replaced = await self._ask(lambda client: bool(cast("Any", client.eval(REPLACE, 2, *arguments))))
        except RedisAway:
            raise NotReady(f"vocabulary {name!r}: the store cannot be reached; check whether it was changed") from None
        if replaced:
            self._set(name, new)
        return replaced

    def degraded(self) -> str | None:
        """`vocabularies` while the circuit breaker is not closed."""
        return "vocabularies" if self._link.away else None

    async def start(self) -> None:
        """Read the snapshot, then again every `REFRESH_SECONDS`; a Redis that is away does not block the start."""
        await self.read_all()
        self._refreshing = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        """Close the connections."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._link.close()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.read_all()

    async def _ask(self, call: Callable[[redis.Redis], T]) -> T:
        return await asyncio.to_thread(self._link.ask, call)


def _names(client: redis.Redis) -> list[str]:
    """The names of all documents. Raises ValueError: more than any service has."""
    members = cast("set[bytes]", client.smembers(INDEX))
    if len(members) > MAX_NAMES:
        raise ValueError(f"{len(members):,} vocabularies, at most {MAX_NAMES:,} are read")
    return sorted(name for member in members if SLOT.fullmatch(name := member.decode("latin-1")))


def _documents(client: redis.Redis, names: list[str]) -> list[bytes | None]:
    return cast("list[bytes | None]", client.mget([PREFIX + name for name in names]))
