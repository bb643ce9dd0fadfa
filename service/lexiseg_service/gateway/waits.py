"""Waits that others may cut short, and work that is done again and again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from lexiseg_service.errors import NotReady

logger = structlog.get_logger("lexiseg.sweeper")
GOING_DOWN = "the service is going down; send the request again"


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


class Shutdown:
    """The beginning of a gateway's shutdown, which cuts timeouts short."""

    def __init__(self) -> None:
        self._graces: dict[asyncio.Timeout, float] = {}  # seconds that each wait has from the beginning on
        self._began = math.inf  # in the event loop's time

    def begin(self) -> None:
        self._began = asyncio.get_running_loop().time()
        for wait, grace in self._graces.items():
            end_by(wait, self._began + grace)

    @asynccontextmanager
    async def timeout_at(self, when: float, grace: float, refusal: str) -> AsyncIterator[asyncio.Timeout]:
        """A timeout at a time of the event loop. Raises NotReady: before, the shutdown left `grace` seconds."""
        try:
            async with asyncio.timeout_at(min(when, self._began + grace)) as wait:
                self._graces[wait] = grace
                try:
                    yield wait
                finally:
                    del self._graces[wait]
        except TimeoutError:
            if self._began + grace < when:
                raise NotReady(refusal) from None
            raise


def end_by(wait: asyncio.Timeout, when: float) -> None:
    """End a wait at a time of its event loop at the latest; asyncio raises for one that is just ending by itself."""
    if not wait.expired():
        end = wait.when()
        wait.reschedule(when if end is None else min(when, end))
