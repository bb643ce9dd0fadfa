"""Connections of gRPC that send and send, and say nothing: settings, empty frames, heads without calls.

gRPC reads whatever comes, in threads of its own, which step aside for those that answer; it has bounds for none of it.
What a connection has sent is known to the system, and what was read of its calls to us. What it has sent beyond that is
for heads and frames, which are small: who sends megabytes of them is cut off, and let in again one time in some
(`wire.knocking`).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import structlog

from lexiseg_service.niceness import NICEST, others_step_aside
from lexiseg_service.wire.arriving import Arriving, received
from lexiseg_service.wire.knocking import LET_IN, let_in_some
from lexiseg_service.wire.leaving import connections, listeners, port_of, reset
from lexiseg_service.wire.received import Turn, whole

if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]
logger = structlog.get_logger("lexiseg.access")
BURST, RATE = 4 * 2**20, 2**20  # bytes beside calls that a connection may send at once, and in each second
BURST_AGAIN, RATE_AGAIN = 64 * 2**10, 64 * 2**10  # likewise of an address that was cut off a moment ago
MOMENT = 30.0  # seconds
PAUSE, PAUSE_AGAIN = 0.25, 0.05  # seconds between two looks, and while somebody is doubtful or was cut off
MOST_OF_THE_TIME = 20.0  # times as long as a look takes is its pause at least
HEAD = 96 * 2**10  # bytes of a call beside what is read of it: its metadata, and what is sent before it is asked for
GIVEN_UP, GIVEN_UP_RATE = 512, 128  # calls that are given up before their message is there, likewise
LEFT, LEFT_RATE = 64, 8  # connections of an address that end without a message, likewise: gRPC ends some floods itself
THREADS = frozenset({"event_engine", "lifeguard"})  # gRPC's own, which read, and the one that begins more of them
FRAMED = 1.01  # times as long as a message is what it comes in


class Said:
    """Bytes that are accounted for, by the port that a connection comes from. On one event loop, but for `of`.

    Args:
        largest: bytes of a message.
    """

    def __init__(self, largest: int) -> None:
        self._largest = round(FRAMED * largest)
        self._bytes: Counter[int] = Counter()
        self._given_up: Counter[int] = Counter()
        self._of_use: set[int] = set()  # a message was read of them
        self._unseen: set[int] = set()  # at the last look

    def call(self, port: int) -> None:
        """A call has come; until it is over a message of it may come, as long as any."""
        self._bytes[port] += HEAD + self._largest

    def message(self, port: int, n_bytes: int) -> None:
        """One was read, so long, and the next may come."""
        if port in self._bytes:  # it may be gone
            self._bytes[port] += round(FRAMED * n_bytes)
            self._of_use |= {port} if n_bytes else set()

    def over(self, port: int) -> None:
        """A call is, and nothing has come of it but what was read."""
        if port in self._bytes:
            self._bytes[port] -= self._largest

    def given_up(self, port: int) -> None:
        """A call has come, and gone without a message."""
        self._given_up[port] += 1

    def of(self, port: int) -> int:
        """Bytes of one connection."""
        return self._bytes[port]

    def given_up_of(self, port: int) -> int:
        """Calls of one connection."""
        return self._given_up[port]

    def is_of_use(self, port: int) -> bool:
        """Whether a message was read of a connection."""
        return port in self._of_use

    def keep(self, ports: set[int]) -> None:
        """Forgets connections that were gone at two looks: one that is not seen at the first may have come after it."""
        unseen = self._bytes.keys() - ports
        for port in unseen & self._unseen:
            del self._bytes[port], self._given_up[port]
            self._of_use.discard(port)
        self._unseen = unseen


class Messages:
    """Of one call: its context, as far as they are read from it."""

    def __init__(self, context: Context, said: Said, arriving: Arriving | None) -> None:
        self._context = context
        self._said = said
        self._peer = context.peer()  # once: who asks a call that is over ends the process
        self._port = port_of(self._peer)
        self._arriving = arriving
        self.came: bool | None = None  # whether one has; None before the first is asked for
        self.is_coming = False  # one that was asked for, or was when it was given up
        self.without_room: asyncio.Timeout | None = None  # ends the call, once no room is taken for what it reads
        self.turn: Turn | None = None  # of what may be long; None: at once

    async def read(self) -> Any:
        """As of the context."""
        self.came = self.came or False
        self.is_coming = True
        with self._reading() as told:
            content = await whole(self._context, self._turn_if_long)
            n_bytes = 0 if content is grpc.aio.EOF else len(content)
            told(n_bytes)
        self.is_coming = False
        self._said.message(self._port, n_bytes)
        if content is not grpc.aio.EOF:
            self.came = True
        elif not self.came:
            self._said.given_up(self._port)
        return content

    async def _turn_if_long(self) -> None:
        if self.turn is not None and (self._arriving is None or self._arriving.may_be_long(self._peer)):
            await self.turn()

    def _reading(self) -> AbstractContextManager[Callable[[int], None]]:
        if self._arriving is None:
            return nullcontext(lambda _: None)
        return self._arriving.reading(self._peer, self.without_room)


@contextmanager
def accounted(context: Context, said: Said, arriving: Arriving | None = None) -> Iterator[Messages]:
    """Around all that is done for a call."""
    port = port_of(context.peer())
    said.call(port)
    messages = Messages(context, said, arriving)
    try:
        yield messages
    except asyncio.CancelledError:
        messages.is_coming |= messages.came is None  # nobody knows how much of it
        if not messages.came:
            said.given_up(port)
        raise
    finally:
        if not messages.is_coming:
            said.over(port)


class _Seen(NamedTuple):
    since: float
    burst: int
    rate: int
    received: int  # at the look before


class Floods:
    """Looks at the connections of one port now and then.

    Args:
        said: what is accounted for.
        cut: hears of each connection that was cut off.
        clock: seconds; only its differences matter.
        let_in: the share of new connections that an address has for a while that was cut off; the system tries again.
    """

    def __init__(
        self,
        said: Said,
        cut: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        let_in: float = LET_IN,
    ) -> None:
        self._said = said
        self._cut = cut
        self._clock = clock
        self._let_in = let_in
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._cut_off: dict[str, float] = {}  # until when an address may send little
        self._left: Counter[str] = Counter()  # connections of an address, but for those that it may end in any second
        self._looked = clock()
        self._doubtful = False  # whether anybody was at the latest look
        self._took = 0.0

    @property
    def pause(self) -> float:
        """Seconds to the next look."""
        return max(PAUSE_AGAIN if self._cut_off or self._doubtful else PAUSE, MOST_OF_THE_TIME * self._took)

    async def watch(self, port: int) -> None:
        """Looks, for ever, beside the event loop; where the system does not tell what was received, never."""
        others_step_aside(THREADS, NICEST)
        while hasattr(socket, "TCP_INFO"):
            await asyncio.sleep(self.pause)
            await asyncio.to_thread(self.look, port)
            self._said.keep({port for _, port in self._seen})

    def look(self, port: int) -> None:
        """Cuts off who has sent too much that is nothing."""
        now, began = self._clock(), time.thread_time()
        knew = self._cut_off.keys()
        self._cut_off = {host: until for host, until in self._cut_off.items() if until > now}
        before, self._seen, self._doubtful = self._seen, {}, False
        for connection, (host, caller) in connections(port):
            burst, rate = (BURST_AGAIN, RATE_AGAIN) if host in self._cut_off else (BURST, RATE)
            seen = before.get((host, caller)) or _Seen(now, burst, rate, 0)
            age = now - seen.since
            said = seen.burst + seen.rate * age + self._said.of(caller)
            n_bytes = received(connection)
            self._seen[host, caller] = seen._replace(received=n_bytes)
            self._doubtful |= n_bytes > said
            # What has come since the look before may belong to calls that nobody has heard of yet.
            if seen.received > said or self._said.given_up_of(caller) > GIVEN_UP + GIVEN_UP_RATE * age:
                with suppress(OSError):  # it has gone meanwhile
                    reset(connection)
                self._cut()
                self._slow_down(host, now, "connection cut off: it sent megabytes beside its calls")
        self._count_left(before.keys() - self._seen.keys(), now)
        if knew != self._cut_off.keys():
            for listening in listeners(port):
                let_in_some(listening, self._cut_off, self._let_in)
        if self._doubtful:
            others_step_aside(THREADS, NICEST)  # again: a thread that has just begun has no name yet
        self._took = time.thread_time() - began  # how long others kept it waiting is no reason to look less

    def _count_left(self, gone: set[tuple[str, int]], now: float) -> None:
        """Of connections that ended since the look before."""
        forgiven = LEFT_RATE * (now - self._looked)
        self._looked = now
        self._left = Counter({host: count - forgiven for host, count in self._left.items() if count > forgiven})
        for host, caller in gone:
            if not self._said.is_of_use(caller):
                self._left[host] += 1
                if self._left[host] > LEFT:
                    self._slow_down(host, now, "address slowed down: its connections come and go without a message")

    def _slow_down(self, host: str, now: float, why: str) -> None:
        if host not in self._cut_off:
            logger.warning(why)
        self._cut_off[host] = now + MOMENT
