"""Wait for a condition; the time limit is only there to end a test that would wait for ever."""

import asyncio
import os
import time
from collections.abc import Callable

# Seconds; an idle machine needs a hundredth of it, one with other work so much more.
SOON = 60.0 * min(10.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def until(holds: Callable[[], object], seconds: float = SOON, told: Callable[[], object] = lambda: "") -> None:
    """Block until `holds()` is true; `told()` is the message of the failure."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


async def soon(holds: Callable[[], object], seconds: float = SOON) -> None:
    """Wait until `holds()` is true while the event loop goes on."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)
