"""Messages that come before there is room for them, as those of video streams after their first.

A camera may be silent for a minute, and would keep others out if its next frame held room all the while. But gRPC reads
the whole of a message, up to the longest, before it says how long it is. What a connection has sent is known to the
system, and what was read of it to us: the rest is arriving. Where too much does, the streams of the connection on which
most arrives are ended, until the others' is not too much; where far too much does, the connection is: to end a stream
takes the event loop, which may be busy with messages that are there.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from lexiseg_service.errors import QueueFull
from lexiseg_service.wire.leaving import connection_of, reset

# Between two looks, while such messages may come: once `MUCH` of what may arrive does, and before.
LOOK_SECONDS, CALM_SECONDS = 0.02, 0.1
MUCH = 0.25
LONG = 2**20  # bytes of a message that keeps the event loop for some milliseconds while it is copied
FRAMED = 1.001  # times as long as a message is what it comes in at least: 9 bytes for each 16 KiB
RETRY_SECONDS = 1
# Of the kernel's tcp_info: the bytes that were received, since Linux 4.1.
RECEIVED = struct.Struct("=128xQ")


class Arriving:
    """Watches connections while they have streams; on one event loop. Where the system tells nothing, it ends none.

    Args:
        most: bytes that may arrive, and wait, without room; at least one message may.
        largest: bytes of one message.
        waiting: bytes of messages that are there, and have no room yet.
        cut: hears of each connection that was ended.
    """

    def __init__(
        self, most: int, largest: int, waiting: Callable[[], int], cut: Callable[[], object] = lambda: None
    ) -> None:
        self._most = max(most, largest)
        self._largest = largest
        self._waiting = waiting
        self._cut = cut
        self._lines: dict[str, _Line] = {}  # by peer
        self._timer: asyncio.TimerHandle | None = None
        self._much = False  # was arriving at the latest look

    @asynccontextmanager
    async def stream(self, peer: str) -> AsyncIterator[asyncio.Timeout]:
        """Around all that is done for a stream; gives what `reading` ends it by.

        Raises:
            QueueFull: it was ended.
        """
        async with self._line(peer):
            try:
                async with asyncio.timeout(None) as patience:
                    yield patience
            except TimeoutError:
                if not patience.expired():
                    raise
                most = f"{self._most:,} bytes of messages may come before there is room for them"
                raise QueueFull(f"{most}; more did, much of it on this connection", RETRY_SECONDS) from None

    @contextmanager
    def reading(self, peer: str, patience: asyncio.Timeout | None) -> Iterator[Callable[[int], None]]:
        """While a message of a call is read; then it is told how long it was.

        Args:
            peer: the other end of its connection, as gRPC writes it.
            patience: ends its stream; None where room is taken for the message.
        """
        line = self._lines.get(peer)
        if line is None or not line.is_watched:
            yield lambda _: None
            return  # whatever comes
        with line.reading(patience) as told:
            if patience is not None and self._timer is None:
                self._look_later()
            yield told
        self.look()  # of messages that come together, each keeps the event loop for as long as it is copied

    @asynccontextmanager
    async def _line(self, peer: str) -> AsyncIterator[None]:
        line = self._lines.setdefault(peer, _Line())
        line.n_streams += 1
        try:
            if not line.is_watched:
                await asyncio.to_thread(line.watch, peer)
            yield
        finally:
            line.n_streams -= 1
            if not line.n_streams:
                del self._lines[peer]
                line.close()

    def _look_later(self) -> None:
        seconds = LOOK_SECONDS if self._much else CALM_SECONDS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if any(line.without_room for line in self._lines.values()):
            self.look()
            self._look_later()

    def may_be_long(self, peer: str) -> bool:
        """Whether a message that a call reads may have more than `LONG` bytes, as far as its connection tells."""
        line = self._lines.get(peer)
        return line is None or not line.is_watched or line.unread() > LONG

    def look(self) -> None:
        """Ends streams if too much arrives."""
        over = self._waiting() - self._most
        if over + self._largest * sum(len(line.without_room) for line in self._lines.values()) <= 0:
            self._much = False
            return  # whatever comes
        arriving = {line: line.arriving(self._largest) for line in self._lines.values()}
        over += sum(arriving.values())
        self._much = over > (MUCH - 1) * self._most
        for line in sorted(arriving, key=arriving.__getitem__, reverse=True):
            if over <= 0 or arriving[line] <= self._most / len(arriving):
                return  # to end who sends little would help nobody
            line.end()
            if over > self._most and line.reset():
                self._cut()
            over -= arriving[line]


class _Line:
    """One connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None  # another file of it
        self._closed = False
        self._known = 0  # bytes that came, but for those of messages that are being read
        self._with_room = 0  # messages that are being read
        self.without_room: set[asyncio.Timeout] = set()  # of each, likewise
        self._is_reset = False
        self.n_streams = 0

    @property
    def is_watched(self) -> bool:
        """False until it is found, if it ever is."""
        return self._connection is not None

    def watch(self, peer: str) -> None:
        """Looks for the connection; in any thread. What is read of it meanwhile goes by unseen."""
        with self._lock:
            if self._connection is None and not self._closed:
                self._connection = connection_of(peer)

    def close(self) -> None:
        """Watches it no more; nor if somebody is looking for it still."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()

    @contextmanager
    def reading(self, patience: asyncio.Timeout | None) -> Iterator[Callable[[int], None]]:
        """As of `Arriving`."""
        if not self._with_room and not self.without_room:
            self._known = self._received()
        if patience is None:
            self._with_room += 1
        else:
            self.without_room.add(patience)
        try:
            yield self._tell
        finally:
            if patience is None:
                self._with_room -= 1
            else:
                self.without_room.discard(patience)

    def _tell(self, n_bytes: int) -> None:
        self._known += round(FRAMED * n_bytes)

    def unread(self) -> int:
        """Bytes that came since nothing was being read, but for those of messages."""
        return self._received() - self._known

    def arriving(self, largest: int) -> int:
        """Bytes of messages without room."""
        n_bytes = self.unread() - largest * self._with_room
        return min(max(0, n_bytes), largest * len(self.without_room))

    def end(self) -> None:
        """Ends the streams that read such messages."""
        for patience in self.without_room:
            if patience.when() is None:  # one that ends may read on until it hears of it
                patience.reschedule(0)

    def reset(self) -> bool:
        """Ends the connection; False where it has gone already."""
        if self._connection is None or self._is_reset:
            return False
        self._is_reset = True
        with suppress(OSError):
            reset(self._connection)
            return True
        return False

    def _received(self) -> int:
        return 0 if self._connection is None else received(self._connection)


def received(connection: socket.socket) -> int:
    """Bytes that a connection has sent us so far; 0 where the system does not tell."""
    if not hasattr(socket, "TCP_INFO"):
        return 0
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED.size)
    n_bytes: int = RECEIVED.unpack(info)[0] if len(info) == RECEIVED.size else 0
    return n_bytes
