"""What comes on a call of gRPC, none of it kept here once it is handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, Protocol

import grpc

Turn = Callable[[], Awaitable[object]]


class Reading(Protocol):
    """As much of a call's context as is needed here."""

    def read(self) -> Coroutine[Any, Any, Any]: ...


async def whole(context: Reading, turn: Turn | None = None) -> Any:
    """The next message of a call, as of the context.

    gRPC keeps a message whose reader is cancelled when it is there for as long as the process lives: a read that has
    begun goes to its end, whoever waits for it.

    Args:
        context: of the call.
        turn: is awaited when a message is there, before it is copied, which keeps the event loop; else those that come
            together would keep it for as long as all of them take.
    """
    reading = context.read()
    try:
        there = reading.send(None)  # at once: a call that is over may not be read
    except StopIteration as over:
        return over.value
    rest = asyncio.ensure_future(_rest(reading, there, turn))
    rest.add_done_callback(_ended)
    return await asyncio.shield(rest)


def _ended(reading: asyncio.Future[Any]) -> None:
    """Looks at what became of it, as asyncio wants it: nobody waits for the end of a call that was given up."""
    if not reading.cancelled():
        reading.exception()


async def _rest(reading: Coroutine[Any, Any, Any], there: asyncio.Future[Any], turn: Turn | None) -> Any:
    """Of a read that waits until its message is `there`."""
    while True:
        # As a task does that waits for it; but what it has to tell, a failure too, is for `reading`.
        there._asyncio_future_blocking = False
        await asyncio.wait({there})
        if turn is not None:
            await turn()
        try:
            there = reading.send(None)
        except StopIteration as over:
            return over.value


async def received(read: Callable[[], Awaitable[Any]]) -> AsyncGenerator[Any, None]:
    """The messages of a stream, each as `read` gives it, until its client has said all.

    gRPC's own iterator keeps the last message of a stream that fails, or is left, for as long as the process lives.
    """
    while True:
        handed_on = [await read()]
        if handed_on[0] is grpc.aio.EOF:
            return
        yield handed_on.pop()  # by a name it would be kept for as long as its reader keeps us waiting
