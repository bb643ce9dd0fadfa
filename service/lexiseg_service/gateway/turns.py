"""Turns of what is large, so that small requests pass it by.

    piece by piece, clients in turns (on the event loop) -> parsed, one at a time, clients in turns (in a thread)

What reads from a connection that always has more keeps the event loop for as many pieces as there are such connections,
and again as soon as it is through. So of several large bodies one goes on at a time, and then none for a while. What
parses megabytes of JSON, or checks thousands of values, holds Python's lock now and then: of one at a time the event
loop waits for that, of several it would wait for most whenever it has something to do. What is large and comes alone
waits for nothing, and where no other client has anything small under way, those with large ones wait for each other
alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from lexiseg_model.kernel.aside import go_aside
from lexiseg_service.niceness import NICEST, step_aside

T = TypeVar("T")
PAUSE = 2e-3  # seconds; several bodies come at 128 MB in each second together, as pieces are on a fast network
REST = 4.0  # times as long as the last one took
SHORT = 2e-3  # seconds
BRIEF = 4 * 2**10  # bytes of a class list that is checked in a millisecond
LONG_LIST = 64 * 2**10  # bytes; what is checked of those takes ten milliseconds and more


class Clients:
    """Who waits for something, the clients in turns, each in the order in which it came."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # whose turn is next first
        self.last: str | None = None  # who was let in

    def add(self, client: str) -> asyncio.Future[None]:
        """Somebody who waits for what this gives."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        return turn

    def let_in(self) -> bool:
        """The next one; False where nobody waits any more."""
        while self._waiting:
            client = next(iter(self._waiting))
            line = self._waiting.pop(client)
            turn = line.popleft()
            if line:
                self._waiting[client] = line  # behind the others
            if not turn.done():  # else it was given up
                turn.set_result(None)
                self.last = client
                return True
        return False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, client: str) -> bool:
        return client in self._waiting or client == self.last


Wanted = Callable[[Clients], bool]  # a rest from what these clients do, of whom those that wait may be none


def always(_: Clients) -> bool:
    """Whoever they are, and if nobody waits."""
    return True


class _Line:
    """One goes on, and others wait until it says that the next one may. They wait longer if that is `wanted`."""

    def __init__(self, wanted: Wanted) -> None:
        self._clients = Clients()
        self._wanted = wanted
        self._busy = False

    async def turn(self, client: str) -> None:
        """Comes back when it is this one's turn."""
        if self._busy:
            turn = self._clients.add(client)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # in the same moment
                    self._next()
                raise
        else:
            self._clients.last = client
        self._busy = True

    def over(self, rest: float) -> None:
        """The turn is; so many seconds to the next one, if they are wanted."""
        asyncio.get_running_loop().call_later(rest if self._wanted(self._clients) else 0.0, self._next)

    def _next(self) -> None:
        self._busy = self._clients.let_in()


class OneAtATime:
    """Of what is dear, clients in turns. It rests for `REST` times as long as the last one took, if that is `wanted`:
    usually while others wait."""

    def __init__(self, wanted: Wanted = bool) -> None:
        self._line = _Line(wanted)

    @asynccontextmanager
    async def of(self, client: str) -> AsyncIterator[None]:
        """While it lasts, no other."""
        await self._line.turn(client)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            self._line.over(REST * (loop.time() - began))


class OneByOne:
    """Steps on the event loop, clients in turns. There are `PAUSE` seconds to the next, if that is `wanted`: usually
    while others wait."""

    def __init__(self, wanted: Wanted = bool) -> None:
        self._line = _Line(wanted)

    async def of(self, client: str) -> None:
        """Waits until the step may be taken."""
        await self._line.turn(client)
        self._line.over(PAUSE)


class _Steps:
    """Steps on the event loop, clients in turns, with a `rest` after each that follows from how long the loop took for
    it, in seconds, if that is `wanted`."""

    def __init__(self, wanted: Wanted, rest: Callable[[float], float]) -> None:
        self._line = _Line(wanted)
        self._rest = rest

    async def of(self, client: str) -> None:
        """Waits until the step may be taken."""
        await self._line.turn(client)
        loop = asyncio.get_running_loop()
        loop.call_soon(self._taken, loop, loop.time())

    def _taken(self, loop: asyncio.AbstractEventLoop, began: float) -> None:
        self._line.over(self._rest(loop.time() - began))


class OneInAWhile(_Steps):
    """From each step to the next there are `PAUSE` seconds, or `REST` times as long as the loop took for it, also for
    who is alone."""

    def __init__(self) -> None:
        super().__init__(always, lambda took: max(PAUSE, REST * took))


class OneARound(_Steps):
    """One step in each round of the event loop. After one that took the loop more than `SHORT` seconds it rests as long
    again, while others wait."""

    def __init__(self) -> None:
        super().__init__(bool, lambda took: took if took > SHORT else 0.0)


class Lane:
    """A thread that does one thing after the other. What takes it long without Python's lock is done beside it, by one
    that is as nice as those that make masks: who asks for little waits for these."""

    def __init__(self, wanted: Wanted = bool) -> None:
        self._turns = OneAtATime(wanted)
        self._thread = ThreadPoolExecutor(1, "lane", lambda: go_aside(partial(step_aside, NICEST)))

    async def done(self, client: str, work: Callable[[], T]) -> T:
        """What `work` returns, when it is the client's turn."""
        async with self._turns.of(client):
            return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, work)


class Turns:
    """What an application keeps as `app.state.turns`.

    Args:
        elsewhere: how many small requests are under way that do not come this way.
    """

    def __init__(self, elsewhere: Callable[[], int] = int) -> None:
        self._elsewhere = elsewhere
        self._passing: dict[str, int] = {}  # small requests by client
        self.figures = OneAtATime(always)  # of metrics, which take as long as forty probes
        self.pieces = OneByOne(self._passed_by_others)  # of large bodies
        self.messages = OneARound()  # of gRPC, that are copied when they are there
        # JSON to be parsed: long ones pass large ones, and those of few values pass those of thousands, which take
        # fifty times as long.
        self.few, self.long, self.large = (Lane(self._passed_by_others) for _ in range(3))
        self.headers = Lane(self._passed_by_others)  # of unusual image files
        self.masks = Lane(self._passed_by_others)  # large ones, that an adapter's answer has in another shape
        self._lists, self._long_lists = Lane(self._passed_by_others), Lane(self._passed_by_others)

    async def of_a_list(self, client: str, n_bytes: int, work: Callable[[], T]) -> T:
        """What `work` makes of a class list of so many bytes, in a thread: Python takes up to 20 milliseconds to check
        one. Of longer ones one is worked on at a time, which short ones pass."""
        if n_bytes <= BRIEF:
            return await asyncio.to_thread(work)
        return await (self._lists if n_bytes <= LONG_LIST else self._long_lists).done(client, work)

    @contextmanager
    def passing(self, client: str) -> Iterator[None]:
        """While it lasts, a small request of a client is under way, for which large ones of others pause."""
        self._passing[client] = self._passing.get(client, 0) + 1
        try:
            yield
        finally:
            self._passing[client] -= 1
            if not self._passing[client]:
                del self._passing[client]

    def _passed_by_others(self, clients: Clients) -> bool:
        if not clients:
            return False
        return self._elsewhere() > 0 or any(client not in clients for client in self._passing)
