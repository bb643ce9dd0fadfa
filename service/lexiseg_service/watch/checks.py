"""Whether what a gateway writes to can be written to: tried every few seconds, for `degraded` of /readyz."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

CHECK_SECONDS = 2.0  # between two tries
SILENT_SECONDS = 5.0  # after which a try that has not ended is a problem
DISK_BYTES = 2**16  # that a disk must have room for
Check = Callable[[], object]  # blocks; the text of what it raises says what is wrong


class Checks:
    """The checks of one gateway, by the names of what they write to."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._tries: dict[str, asyncio.Future[object]] = {}  # a silent disk gets no second thread
        self._problems: dict[str, str] = {}

    def add(self, name: str, check: Check) -> None:
        """Add a check, before the first try."""
        self._checks[name] = check

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is wrong, as `NAME: reason`."""
        return tuple(f"{name}: {problem}" for name, problem in sorted(self._problems.items()))

    async def repeat(self) -> None:
        """Try all of them, for ever."""
        while True:
            await asyncio.gather(*map(self._try, self._checks))
            await asyncio.sleep(CHECK_SECONDS)

    async def _try(self, name: str) -> None:
        if name not in self._tries:
            self._tries[name] = asyncio.ensure_future(asyncio.to_thread(self._checks[name]))
        completed, _ = await asyncio.wait([self._tries[name]], timeout=SILENT_SECONDS)
        if not completed:
            self._problems[name] = "does not answer"
        elif (error := self._tries.pop(name).exception()) is not None:
            self._problems[name] = getattr(error, "strerror", None) or str(error)
        else:
            self._problems.pop(name, None)


def check_folder(folder: Path) -> None:
    """Write a file without a name in a folder. Raises OSError: the disk is full, or takes no writes."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(DISK_BYTES))
