"""Parsing and serialising: small texts on the event loop, large ones in one bounded thread pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
MAX_BYTES_ON_EVENT_LOOP = 256 * 2**10
MAX_THREADS = 2


class ParsePool:
    """One pool for all protocols of a gateway."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MAX_THREADS, "parse")

    async def run(self, n_bytes: int, work: Callable[[], T]) -> T:
        """Call `work`, which parses or writes that many bytes."""
        if n_bytes <= MAX_BYTES_ON_EVENT_LOOP:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Stop the threads; work that has not begun is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
