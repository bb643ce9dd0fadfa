from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from lexiseg_service.errors import ImageNotFetched
from lexiseg_service.image.fetches_aside import FetchesAside


class Slow:
    """Brings what it is asked for when it may; `told` in which thread each fetch was, and which were cancelled."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.cancelled = threading.Event()
        self.begun = threading.Event()

    async def fetch(self, url_text: str, client: str = "") -> bytes:
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        if url_text == "missing":
            raise ImageNotFetched("nothing there")
        if url_text == "silent":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return f"{url_text} for {client}".encode()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def aside(slow: Slow) -> AsyncIterator[FetchesAside]:
    fetches = FetchesAside(slow)
    yield fetches
    await fetches.close()


async def test_all_fetches_are_on_one_thread_beside(aside: FetchesAside, slow: Slow) -> None:
    together = [aside.fetch(url, "somebody") for url in ("a", "b")]

    assert await asyncio.gather(*together) == [b"a for somebody", b"b for somebody"]
    assert slow.threads == ["fetch", "fetch"]


async def test_an_error_is_the_fetchers(aside: FetchesAside) -> None:
    with pytest.raises(ImageNotFetched, match="nothing there"):
        await aside.fetch("missing")


async def test_who_cancels_cancels_the_fetch(aside: FetchesAside, slow: Slow) -> None:
    asking = asyncio.create_task(aside.fetch("silent"))
    assert await asyncio.to_thread(slow.begun.wait, 30)

    asking.cancel()

    assert await asyncio.to_thread(slow.cancelled.wait, 30)
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_closing_ends_the_thread_and_what_is_still_fetched(aside: FetchesAside, slow: Slow) -> None:
    asking = asyncio.create_task(aside.fetch("silent"))
    assert await asyncio.to_thread(slow.begun.wait, 30)

    await aside.close()

    assert slow.cancelled.is_set()
    assert "fetch" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await aside.fetch("again", "one") == b"again for one"  # begins anew


async def test_no_thread_begins_without_a_fetch(aside: FetchesAside) -> None:
    await aside.close()

    assert "fetch" not in {thread.name for thread in threading.enumerate()}
