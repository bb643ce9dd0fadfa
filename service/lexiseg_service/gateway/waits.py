"""Waits that others may cut short, and work that is done again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from lexiseg_service.errors import NotReady

logger = structlog.get_logger("lexiseg.sweeper")


async def for_ever(work: Callable[[], Awaitable[object]], pause: float) -> None:
    """Do some work every `pause` seconds; what fails is done at the next time."""
    while True:
        try:
            await work()
        except NotReady:  # a store is away
            pass
        except Exception as error:
            logger.error("unexpected error", error=type(error).__name__, exc_info=error)
        await asyncio.sleep(pause)


def end_by(wait: asyncio.Timeout, when: float) -> None:
    """End a wait at a time of its event loop at the latest; asyncio raises for one that is just ending by itself."""
    if not wait.expired():
        end = wait.when()
        wait.reschedule(when if end is None else min(when, end))
