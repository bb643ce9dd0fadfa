"""Waits of long streams that end when the process begins to shut down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from lexiseg_service.errors import NotReady

T = TypeVar("T")


class Drain:
    """Ends the waits of one event loop; `why` is the message to their clients."""

    def __init__(self, why: str) -> None:
        self._why = why
        self._begun = False
        self._timeouts: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """End all waits, those to come included."""
        self._begun = True
        for timeout in self._timeouts:
            timeout.reschedule(0)

    async def wait(self, work: Awaitable[T], seconds: float | None = None) -> T:
        """The result of `work`, which is cancelled when the shutdown begins or the time is over.

        Raises:
            NotReady: the process shuts down.
            TimeoutError: it took too long.
        """
        try:
            async with asyncio.timeout(0 if self._begun else seconds) as timeout:
                self._timeouts.add(timeout)
                try:
                    return await work
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError:
            if self._begun:
                raise NotReady(self._why) from None
            raise
