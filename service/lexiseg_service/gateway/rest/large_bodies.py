"""JSON is parsed beside the event loop, and large bodies one at a time.

What parses a string of megabytes holds Python's lock until its end. Of one of them the event loop waits for the end;
of several at a time, which all want the lock, it would wait for most of them whenever it has something to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

T = TypeVar("T")
LARGE = 2**20  # bytes


def one_at_a_time() -> asyncio.Semaphore:
    """What an application keeps as `app.state.large_bodies`."""
    return asyncio.Semaphore(1)


async def beside(request: Request, content: bytes, parse: Callable[[], T]) -> T:
    """What `parse` makes of the content of a request, in a thread."""
    if len(content) <= LARGE:
        return await asyncio.to_thread(parse)
    turn: asyncio.Semaphore = request.app.state.large_bodies
    async with turn:
        return await asyncio.to_thread(parse)
