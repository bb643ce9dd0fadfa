"""Waits that others may cut short."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lexiseg_service.errors import NotReady

GOING_DOWN = "the service is going down; send the request again"


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
