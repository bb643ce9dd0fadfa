"""Stores of users' vocabularies: documents as bytes by slot, in memory or in a folder."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.vocabularies.named import SLOT

logger = structlog.get_logger("lexiseg.vocabularies")


class Store(Protocol):
    """Writes are compare-and-swap: of two concurrent writers one wins."""

    @property
    def nbytes(self) -> int:
        """Bytes of the documents in memory."""
        ...

    async def read(self, name: str) -> bytes | None:
        """A document, or None. Keeps answering while the storage behind it is away."""
        ...

    async def read_all(self) -> dict[str, bytes]:
        """All documents by slot."""
        ...

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Replace `old` by `new` (None: absent); False if something else is there.

        Raises:
            NotReady: nothing can be written now.
        """
        ...

    def degraded(self) -> str | None:
        """What is degraded, for /readyz."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class MemoryStore:
    """Keeps documents as long as the process lives."""

    def __init__(self, documents: dict[str, bytes] | None = None) -> None:
        self._documents = dict(documents or {})

    @property
    def nbytes(self) -> int:
        """Bytes of all documents."""
        return sum(map(len, tuple(self._documents.values())))

    async def read(self, name: str) -> bytes | None:
        """A document, or None."""
        return self._documents.get(name)

    async def read_all(self) -> dict[str, bytes]:
        """All documents by slot."""
        return dict(self._documents)

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """As `Store.replace`."""
        if self._documents.get(name) != old:
            return False
        self._set(name, new)
        return True

    def degraded(self) -> str | None:
        """Nothing."""
        return None

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def _set(self, name: str, content: bytes | None) -> None:
        if content is None:
            self._documents.pop(name, None)
        else:
            self._documents[name] = content


class DirectoryStore(MemoryStore):
    """One JSON file per document: reads from memory, writes through to the disk. For one process at a time.

    Raises:
        OSError: the folder cannot be created or listed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(_read_folder(folder))
        self._folder = folder
        self._writing = asyncio.Lock()

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """As `Store.replace`, on the disk first.

        Raises:
            NotReady: the disk takes no writes.
        """
        async with self._writing:
            if self._documents.get(name) != old:
                return False
            # Shielded: memory must follow the disk even if the client hangs up.
            await asyncio.shield(asyncio.ensure_future(self._write_through(name, new)))
            return True

    async def _write_through(self, name: str, content: bytes | None) -> None:
        try:
            await asyncio.to_thread(_write, self._folder, name, content)
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


def _write(folder: Path, name: str, content: bytes | None) -> None:
    """Replace or delete a file atomically."""
    target = folder / f"{name}.json"
    if content is None:
        target.unlink(missing_ok=True)
    else:
        draft = folder / f".{name}.draft"
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError:
            with suppress(OSError):  # a partial file would use up a full disk
                draft.unlink(missing_ok=True)
            raise
    # The rename survives a power failure only once the folder is synced.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
