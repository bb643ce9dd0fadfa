"""Images by URL, fetched on an event loop of their own.

What a hostile host sends a byte at a time, or heads without an end, costs whoever reads it far more than its bytes: on
the gateway's own loop such work would keep every request and every probe waiting.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple, Protocol

from lexiseg_service.niceness import step_aside

SECONDS_TO_END = 5.0


class Fetches(Protocol):
    """What fetches images."""

    async def fetch(self, url_text: str, client: str = "") -> bytes:
        """As `UrlFetcher.fetch`."""


class _Running(NamedTuple):
    """A loop, and what ends it when it is set there."""

    loop: asyncio.AbstractEventLoop
    over: asyncio.Event


class FetchesAside:
    """A fetcher that works on a thread of its own, from the first fetch to `close`. Used from one event loop."""

    def __init__(self, fetcher: Fetches) -> None:
        self._fetcher = fetcher
        self._thread: threading.Thread | None = None
        self._running: Future[_Running] = Future()

    async def fetch(self, url_text: str, client: str = "") -> bytes:
        """As that of the fetcher. Whoever cancels it cancels the fetch.

        Raises:
            ServiceError: as that.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=partial(_run, self._running), name="fetch", daemon=True)
            self._thread.start()
        running = await asyncio.shield(asyncio.wrap_future(self._running))
        fetching = asyncio.run_coroutine_threadsafe(self._fetcher.fetch(url_text, client), running.loop)
        return await asyncio.wrap_future(fetching)

    async def close(self) -> None:
        """Ends the thread, if there is one; what is still fetched is cancelled."""
        if self._thread is not None:
            running = await asyncio.wrap_future(self._running)
            running.loop.call_soon_threadsafe(running.over.set)
            await asyncio.to_thread(self._thread.join, SECONDS_TO_END)
            self._thread, self._running = None, Future()


def _run(running: Future[_Running]) -> None:
    step_aside()

    async def until_over() -> None:
        over = asyncio.Event()
        running.set_result(_Running(asyncio.get_running_loop(), over))
        await over.wait()

    asyncio.run(until_over())  # cancels what is left at its end
