"""Erase jobs: recorded in the ledger first, so that they are gone for everybody, then repeated until no file is left.

A file may come after the first attempt: from a lane, here or at another gateway, that writes while the job is erased.
And an attempt may fail, or its gateway end. So any gateway removes the files of recorded jobs again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from lexiseg_service.batch.files import Files
from lexiseg_service.batch.ledger.job import Ledger, Progress, ask_ledger
from lexiseg_service.errors import NotReady
from lexiseg_service.gateway.times import expiry, has_passed

logger = structlog.get_logger("lexiseg.jobs")
REPEAT_SECONDS = 30.0  # between attempts
SWEEP_SECONDS = 600.0  # between looks for jobs that have expired
RECORD_SECONDS = 3600.0  # that an erasure is repeated, also after it succeeded: longer than a lane writes a file


class Eraser:
    """Erases jobs of one ledger; by itself the ones that ended `keep_days` ago."""

    def __init__(self, ledger: Ledger, files: Files, keep_days: float) -> None:
        self._ledger = ledger
        self._files = files
        self._keep_days = keep_days
        self.failing: set[str] = set()  # recorded jobs with files that cannot be removed at present

    def expiry(self, progress: Progress) -> float | None:
        """When a job of that progress expires, in seconds since the epoch; None: it has not ended."""
        return expiry(progress.ended, self._keep_days)

    def has_expired(self, progress: Progress) -> bool:
        """Whether nobody may see a job of that progress any more, though it is not erased yet."""
        return has_passed(self.expiry(progress))

    async def erase(self, identities: Sequence[str]) -> None:
        """Erase jobs: when it returns, they are gone, and their files as far as that can be done now."""
        try:
            await ask_ledger(self._ledger.erase, identities)
        except NotReady:  # perhaps the disk is full: their files make room
            await self._remove(identities)
            await ask_ledger(self._ledger.erase, identities)
        await self._remove(identities)

    async def go_on(self) -> None:
        """Remove the files of recorded jobs."""
        recorded = await ask_ledger(self._ledger.erasures)
        due = {identity: since for identity, since in recorded.items() if since <= time.time()}
        self.failing &= due.keys()
        await self._remove(tuple(due))
        for identity, since in due.items():
            if await ask_ledger(self._ledger.job, identity) is not None:  # added and never planned: its gateway is gone
                await ask_ledger(self._ledger.erase, [identity])
            elif identity not in self.failing and since + RECORD_SECONDS < time.time():
                await ask_ledger(self._ledger.record_erased, identity)

    async def erase_expired(self) -> None:
        progress = await ask_ledger(self._ledger.all_progress)
        expired = [identity for identity, each in progress.items() if self.has_expired(each)]
        if expired:
            await self.erase(expired)

    async def _remove(self, identities: Sequence[str]) -> None:
        for identity in identities:
            try:
                await asyncio.to_thread(self._files.remove, identity)
                self.failing.discard(identity)
            except Exception as error:  # of the disk, or the library of a store
                logger.warning("files of a job cannot be removed yet", job=identity, error=str(error))
                self.failing.add(identity)
