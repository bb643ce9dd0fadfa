"""A zip of labelled pictures that a client sends: looked at, and read by the importer in its sandbox."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO

from lexiseg_model.files.sandbox import Limits
from lexiseg_service.errors import InvalidValue, NotReady, QueueFull, RateLimited
from lexiseg_service.gateway.heads import reviewed_set
from lexiseg_service.gateway.heads.reviewed_set import ReviewedSet
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, ARCHIVE_FILE, unpacked_bytes, without_paths

MAX_ARCHIVE_BYTES = 128 * 2**20  # of an archive
MAX_UNPACKED_BYTES = 2 * MAX_ARCHIVE_BYTES
MEMORY_BYTES = 2 * 2**30  # of the importer
MAX_READING = 2  # at a time, one of each client
RETRY_SECONDS = 5


class ArchiveDesk:
    """Reads archives, few at a time.

    Args:
        folder: where they are kept meanwhile; None: the system's folder of temporary files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._clients: set[str] = set()  # whose archive is read

    async def read(self, content: BinaryIO, client: str, deadline: float) -> ReviewedSet:
        """The labelled pictures of a zip.

        Args:
            content: the zip, open for reading.
            client: key or address.
            deadline: of the request, in `time.monotonic()`.

        Raises:
            SwitchedOff: the importer is not installed.
            RateLimited, QueueFull: one of the client, or enough of others, are being read.
            InvalidValue: it is no zip, too large, or no set.
            DeadlineExceeded: it is not read in time.
            NotReady: it cannot be kept now.
        """
        reviewed_set.check_importer()
        if client in self._clients:
            raise RateLimited(f"{ARCHIVE}: one of yours is being read; send the next one after it", RETRY_SECONDS)
        if len(self._clients) >= MAX_READING:
            raise QueueFull(f"{ARCHIVE}: {MAX_READING} of others are being read", RETRY_SECONDS)
        self._clients.add(client)
        try:
            return await self._read(content, deadline)
        except OSError as error:
            raise NotReady(f"{ARCHIVE}: it cannot be kept now: {error.strerror or error}", RETRY_SECONDS) from None
        finally:
            self._clients.discard(client)

    async def _read(self, content: BinaryIO, deadline: float) -> ReviewedSet:
        place = Path(await asyncio.to_thread(mkdtemp, prefix=".archive-", dir=self._folder)).resolve()
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


def _keep(content: BinaryIO, path: Path) -> None:
    unpacked_bytes(content, MAX_UNPACKED_BYTES)
    content.seek(0)
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
