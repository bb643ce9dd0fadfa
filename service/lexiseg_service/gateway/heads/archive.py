"""A zip of labelled pictures that a client sends: looked at, and read by the importer in its sandbox."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import BinaryIO

from lexiseg_model.files.sandbox import Limits
from lexiseg_service.errors import InvalidValue, NotReady, QueueFull, RateLimited
from lexiseg_service.gateway.admission.access import Caller
from lexiseg_service.gateway.heads import reviewed_set
from lexiseg_service.gateway.heads.reviewed_set import ReviewedSet
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, ARCHIVE_FILE, unpacked_bytes, without_paths

MAX_ARCHIVE_BYTES = 128 * 2**20  # of an archive
MAX_UNPACKED_BYTES = 2 * MAX_ARCHIVE_BYTES
MEMORY_BYTES = 2 * 2**30  # of the importer
MAX_READING = 2  # at a time, one of each client
TURN_SECONDS = 5
PREFIX = ".archive-"  # of the folder in which one is read; then its owner and "~"
START_SECONDS = 1.0  # from the making of a folder to its lock


class ArchiveDesk:
    """Reads archives, few at a time, and keeps them in a folder meanwhile (None: of temporary files)."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = Path(gettempdir()) if folder is None else folder
        self._clients: set[str] = set()  # clients with an archive that is read

    async def read(self, content: BinaryIO, caller: Caller, deadline: float) -> ReviewedSet:
        """The labelled pictures of a zip, until a deadline in `time.monotonic()`."""
        reviewed_set.check_importer()
        client = caller.client
        if client in self._clients:
            raise RateLimited(f"{ARCHIVE}: one of yours is being read; send the next one after it", TURN_SECONDS)
        if len(self._clients) >= MAX_READING:
            raise QueueFull(f"{ARCHIVE}: {MAX_READING} of others are being read", TURN_SECONDS)
        self._clients.add(client)
        try:
            return await self._read(content, caller.owner, deadline)
        except OSError as error:
            raise NotReady(f"{ARCHIVE}: it cannot be kept now: {error.strerror or error}", TURN_SECONDS) from None
        finally:
            self._clients.discard(client)

    def remove_leftovers(self, owner: str | None = None) -> int:
        """Remove folders that ended processes left, of one owner or all; returns their number."""
        number = 0
        for place in self._folder.glob(f"{PREFIX}*" if owner is None else f"{PREFIX}{owner}~*"):
            with suppress(OSError):  # another gateway was faster, or it is another user's
                if time.time() - place.stat().st_mtime > START_SECONDS and (guard := _lock(place)) is not None:
                    shutil.rmtree(place, ignore_errors=True)
                    os.close(guard)
                    number += 1
        return number

    async def _read(self, content: BinaryIO, owner: str, deadline: float) -> ReviewedSet:
        place = Path(await asyncio.to_thread(mkdtemp, prefix=f"{PREFIX}{owner}~", dir=self._folder)).resolve()
        guard = _lock(place)
        try:
            await asyncio.to_thread(_keep, content, place / ARCHIVE_FILE)
            seconds = max(1.0, deadline - time.monotonic())
            limits = Limits(seconds, int(seconds) + 1, MEMORY_BYTES, MAX_UNPACKED_BYTES)
            return await reviewed_set.read(place / ARCHIVE_FILE, place, limits)
        except InvalidValue as error:
            error.detail = without_paths(error.detail, place)
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
            if guard is not None:
                os.close(guard)


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None: a process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _keep(content: BinaryIO, path: Path) -> None:
    unpacked_bytes(content, MAX_UNPACKED_BYTES)
    content.seek(0)
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
