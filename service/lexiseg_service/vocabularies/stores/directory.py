"""Users' vocabularies as files of a folder, one JSON document each. The folder belongs to one process at a time."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import structlog

from lexiseg_service.errors import NotReady
from lexiseg_service.vocabularies.named import SLOT

logger = structlog.get_logger("lexiseg.vocabularies")


class DirectoryStore:
    """Reads from memory, writes through to the disk; a file is replaced in one step or not at all.

    Raises:
        OSError: the folder cannot be made or listed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = asyncio.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._kept = dict(_documents(folder))

    @property
    def nbytes(self) -> int:
        """Bytes of all documents."""
        return sum(map(len, tuple(self._kept.values())))

    async def read(self, name: str) -> bytes | None:
        """A document, or None."""
        return self._kept.get(name)

    async def read_all(self) -> dict[str, bytes]:
        """Every document by its name."""
        return dict(self._kept)

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Puts `new` in the place of `old`, on the disk first.

        Raises:
            NotReady: the disk takes no writes.
        """
        async with self._writing:
            if self._kept.get(name) != old:
                return False
            # Shielded: the memory follows the disk even when the client hangs up in between.
            await asyncio.shield(asyncio.ensure_future(self._write_through(name, new)))
            return True

    async def _write_through(self, name: str, new: bytes | None) -> None:
        try:
            await asyncio.to_thread(_write, self._folder, name, new)
        except OSError as error:
            logger.error("vocabulary not written", vocabulary=name, error=error.strerror)
            raise NotReady(f"vocabulary {name!r} cannot be kept: {error.strerror}; nothing was changed") from None
        if new is None:
            self._kept.pop(name, None)
        else:
            self._kept[name] = new

    def degraded(self) -> str | None:
        """Never."""
        return None

    async def start(self) -> None:
        """Nothing to do: the files are read by then."""

    async def close(self) -> None:
        """Nothing to do: everything is on the disk."""


def _documents(folder: Path) -> list[tuple[str, bytes]]:
    documents = []
    for path in sorted(folder.glob("*.json")):
        if not SLOT.fullmatch(path.stem):
            logger.warning("file skipped: not the name of a vocabulary", file=path.name)
            continue
        try:
            documents.append((path.stem, path.read_bytes()))
        except OSError as error:
            logger.warning("file skipped: it cannot be read", file=path.name, error=error.strerror)
    return documents


def _write(folder: Path, name: str, content: bytes | None) -> None:
    target = folder / f"{name}.json"
    if content is None:
        target.unlink(missing_ok=True)
    else:
        draft = folder / f".{name}.draft"
        try:
            _write_out(draft, content)
            draft.replace(target)
        except OSError:
            with suppress(OSError):  # half of it would take the last of a full disk
                draft.unlink(missing_ok=True)
            raise
    # The rename itself outlives a power cut only once the folder is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_out(file: Path, content: bytes) -> None:
    with file.open("wb") as open_file:
        open_file.write(content)
        open_file.flush()
        os.fsync(open_file.fileno())
