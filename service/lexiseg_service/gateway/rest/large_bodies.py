"""Large bodies, which are read and parsed so that small requests pass them by.

    piece by piece, clients in turns (on the event loop) -> parsed, one at a time, clients in turns (in a thread)

What reads from a connection that always has more keeps the event loop for as many pieces as there are such connections,
and again as soon as it is through. So of several large bodies one goes on at a time, and then none for a while. What
parses megabytes of JSON holds Python's lock now and then: of one at a time the event loop waits for that, of several it
would wait for most whenever it has something to do. A large body that comes alone waits for nothing, and where no other
client has anything small under way, those with large ones wait for each other alone.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from lexiseg_model.kernel.aside import go_aside
from lexiseg_service.niceness import NICEST, step_aside

T = TypeVar("T")
LARGE = 2**20  # bytes
LONG = 64 * 2**10  # bytes; what is shorter is parsed in a millisecond or two
FEW = 512  # values, or escapes; a question of a photograph and some words has so many at most
PAUSE = 2e-3  # seconds; several bodies come at 128 MB in each second together, as pieces are on a fast network
REST = 4.0
MARKS = (b",", b"[", b"{", b"\\")
# What was in the memory before stands there until it is written.
_UNWRITTEN = ctypes.pythonapi.PyByteArray_FromStringAndSize
_UNWRITTEN.restype, _UNWRITTEN.argtypes = ctypes.py_object, (ctypes.c_char_p, ctypes.c_ssize_t)


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


Wanted = Callable[[Clients], bool]  # a rest from what these clients do


def always(_: Clients) -> bool:
    """Whoever they are."""
    return True


class OneAtATime:
    """Of what is dear, clients in turns. While others wait, it rests for `REST` times as long as the last one took, if
    that is `wanted`."""

    def __init__(self, wanted: Wanted = always) -> None:
        self._clients = Clients()
        self._wanted = wanted
        self._busy = False

    @asynccontextmanager
    async def of(self, client: str) -> AsyncIterator[None]:
        """While it lasts, no other."""
        loop = asyncio.get_running_loop()
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
        began = loop.time()
        try:
            yield
        finally:
            rests = self._clients and self._wanted(self._clients)
            loop.call_later(REST * (loop.time() - began) if rests else 0.0, self._next)

    def _next(self) -> None:
        self._busy = self._clients.let_in()


class OneByOne:
    """Steps on the event loop, clients in turns. While others wait, there are `PAUSE` seconds to the next, if that is
    `wanted`."""

    def __init__(self, wanted: Wanted = always) -> None:
        self._clients = Clients()
        self._wanted = wanted
        self._busy = False

    async def of(self, client: str) -> None:
        """Waits until the step may be taken."""
        if self._busy:
            await self._clients.add(client)
        else:
            self._busy, self._clients.last = True, client
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._busy = self._clients.let_in()
        if self._busy:
            pauses = self._clients and self._wanted(self._clients)
            asyncio.get_running_loop().call_later(PAUSE if pauses else 0.0, self._next)


class Lane:
    """A thread that parses one body after the other. What takes it long without Python's lock is done beside it, by one
    that is as nice as those that make masks: who asks for little waits for these."""

    def __init__(self, wanted: Wanted = always) -> None:
        self._turns = OneAtATime(wanted)
        self._thread = ThreadPoolExecutor(1, "parse", lambda: go_aside(partial(step_aside, NICEST)))

    async def parsed(self, client: str, parse: Callable[[], T]) -> T:
        """What `parse` returns, when it is the client's turn."""
        async with self._turns.of(client):
            return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, parse)


class Turns:
    """What an application keeps as `app.state.turns`.

    Args:
        elsewhere: how many small requests are under way that do not come this way.
    """

    def __init__(self, elsewhere: Callable[[], int] = int) -> None:
        self._elsewhere = elsewhere
        self._passing: dict[str, int] = {}  # small requests by client
        self.pieces = OneByOne(self._passed_by_others)  # of large bodies
        # JSON to be parsed: long ones pass large ones, and those of few values pass those of thousands, which take
        # fifty times as long.
        self.few, self.long, self.large = (Lane(self._passed_by_others) for _ in range(3))

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
        return self._elsewhere() > 0 or any(client not in clients for client in self._passing)


async def whole(request: Request) -> bytes | bytearray:
    """The body of a request; a large one in a place of its length, to which each piece is moved when it comes."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) <= LARGE:
        return await request.body()
    body, size = _room(int(length)), 0
    async for piece in request.stream():
        body[size : size + len(piece)] = piece
        size += len(piece)
    del body[size:]
    return body


def _room(size: int) -> bytearray:
    """Bytes to be written: those that Python makes are zeros, which for 26 MB takes it up to 20 ms at a stretch."""
    body: bytearray = _UNWRITTEN(None, size)
    return body


async def beside(request: Request, content: bytes | bytearray, parse: Callable[[], T]) -> T:
    """What `parse` makes of the content of a request, in a thread."""
    if len(content) <= LONG:
        return await asyncio.to_thread(parse)
    turns: Turns = request.app.state.turns
    if len(content) > LARGE:
        lane = turns.large
    else:
        lane = turns.few if sum(content.count(mark) for mark in MARKS) <= FEW else turns.long
    return await lane.parsed(request.state.client, parse)
