"""When what failed is tried again: by a client, after `Retry-After`, and here, with backoff or on a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from lexiseg_service.errors import NotReady

logger = structlog.get_logger("lexiseg.sweeper")
AWAY_SECONDS = 30  # for clients, while a disk or a store is away


def backoff(attempt: int, first: float, longest: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0): doubled each time, from `first` to `longest`."""
    return min(longest, first * 2.0 ** min(attempt, 60))


async def for_ever(work: Callable[[], Awaitable[object]], pause: float, first: float = 0.0) -> None:
    """Do some work after `first` seconds and every `pause` seconds; what fails is done at the next time."""
    await asyncio.sleep(first)
    while True:
        try:
            await work()
        except NotReady:  # a store is away
            pass
        except Exception as error:
            name = getattr(work, "__qualname__", str(work))
            logger.error("unexpected error", work=name, error=type(error).__name__, exc_info=error)
        await asyncio.sleep(pause)
