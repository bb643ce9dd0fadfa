"""How a gRPC server goes without losing a call.

A server of grpc's that is stopped gives up what it has not handed over yet, and what arrives before its client has
heard of the end: CANCELLED, though nobody cancelled it (grpc/grpc issue 41785). So ours is stopped last, when nobody
can reach it any more:

    refuse new calls and connections -> hang up each connection when its calls are answered -> stop
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import grpc

from lexiseg_service.errors import NotReady

if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]

LAST_BYTES_SECONDS = 0.2  # for what is on its way out beside answers, as the word of our health
LOOK_SECONDS = 0.02
OPEN_FILES = "/dev/fd"
NOBODY = struct.pack("=H14x", socket.AF_UNSPEC)  # the address that a socket has no other end with


class Calls:
    """Calls that are worked on, or whose last byte is not out yet, by the port that their client calls from."""

    def __init__(self) -> None:
        self.refused = False  # those that come from now on
        self._from: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._from.total()

    @contextmanager
    def taken(self, context: Context) -> Iterator[None]:
        """Counts a call while it is worked on, and after that until its client has the answer.

        Raises:
            NotReady: the server goes down.
        """
        if self.refused:
            raise NotReady("the server goes down; ask another one, or this one when it is back")
        port = port_of(context.peer())
        self._from[port] += 1
        try:
            yield
        finally:
            if context.done():  # the client has gone
                self._end(port)
            else:
                # grpcio types it as a class of its own, and takes anything that can be called.
                context.add_done_callback(cast("Any", lambda _: self._end(port)))

    def any_from(self, port: int) -> bool:
        """Whether a connection, as the port at its other end tells, has calls."""
        return port in self._from

    def _end(self, port: int) -> None:
        self._from[port] -= 1
        if not self._from[port]:
            del self._from[port]


async def drain(server: grpc.aio.Server, port: int, calls: Calls, seconds: float) -> None:
    """Refuses new calls and connections, waits until no call is left or for so many seconds, and stops."""
    calls.refused = True
    _stop_listening(port)
    deadline = time.monotonic() + seconds
    idle: dict[int, float] = {}  # since when
    while (now := time.monotonic()) < deadline:
        waiting = bool(calls)
        for connection, (_, caller) in connections(port):
            if calls.any_from(caller):
                idle.pop(caller, None)
            elif now < idle.setdefault(caller, now) + LAST_BYTES_SECONDS:
                waiting = True
            else:
                _hang_up(connection)
        if not waiting:
            break
        await asyncio.sleep(LOOK_SECONDS)
    for connection, _ in connections(port):
        _hang_up(connection)
    await server.stop(LAST_BYTES_SECONDS)


def hang_up(peer: str) -> None:
    """Ends the connection of a call at once, with all other calls on it; `peer` as gRPC writes it."""
    connection = connection_of(peer)
    if connection is not None:
        with connection, suppress(OSError):  # it has gone meanwhile
            connection.shutdown(socket.SHUT_RDWR)


def connection_of(peer: str) -> socket.socket | None:
    """Another file of a call's connection, to be closed by whoever asks; None where it is gone."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    for _, each in _sockets():
        with suppress(OSError):  # what only listens has no other end
            other = each.getpeername()
            if (other[0].removeprefix("::ffff:"), str(other[1])) == (host.strip("[]").removeprefix("::ffff:"), port):
                # Its own `dup` would have the connection wait, for gRPC too, which is not made for that.
                return socket.socket(fileno=os.dup(each.fileno()))
    return None


def _sockets(port: int | None = None) -> Iterator[tuple[int, socket.socket]]:
    """This process's sockets, on one port or all: the file, and another one of the same socket, good until the next.

    grpc shows none of them, but the system lists what is open. Where it does not, there are none.
    """
    try:
        names = os.listdir(OPEN_FILES)
    except OSError:
        return
    for file in map(int, names):
        with suppress(OSError), _socket(file) as each:
            if each.family in (socket.AF_INET, socket.AF_INET6) and port in (None, each.getsockname()[1]):
                yield file, each


@contextmanager
def _socket(file: int) -> Iterator[socket.socket]:
    """Another file of an open socket.

    Raises:
        OSError: it is none, or not open any more.
    """
    other = os.dup(file)
    try:
        each = socket.socket(fileno=other)
    except OSError:
        os.close(other)
        raise
    with each:
        yield each


def connections(port: int) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """Those that were accepted on a port, and the address and port of the other end."""
    for _, each in _sockets(port):
        with suppress(OSError):  # what only listens has no other end
            host, caller = each.getpeername()[:2]
            yield each, (host, caller)


def listeners(port: int) -> Iterator[socket.socket]:
    """What listens on a port, each good until the next."""
    for _, each in _sockets(port):
        with suppress(OSError):
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield each


def reset(connection: socket.socket) -> None:
    """Ends a connection at once, with what lies there unread: who only shuts it reads on for as long as more comes."""
    # Python's own `connect` takes addresses of the socket's family alone.
    if ctypes.CDLL(None).connect(connection.fileno(), NOBODY, len(NOBODY)):
        connection.shutdown(socket.SHUT_RDWR)


def _stop_listening(port: int) -> None:
    """Refuses connections. The file stays grpc's: a socket that nobody knows takes its place until the server stops."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind("")  # a name that the system makes up, where it does
        nobody.setblocking(False)
        nobody.listen()
        for file, each in _sockets(port):
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                os.dup2(nobody.fileno(), file, inheritable=False)


def _hang_up(connection: socket.socket) -> None:
    """Sends what is written and then the end; whatever is still asked there is UNAVAILABLE to who asks."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def port_of(peer: str) -> int:
    """Of a peer as gRPC writes it: `ipv4:127.0.0.1:4711`. An address may be written in several ways; a port has one."""
    port = peer.rpartition(":")[2]
    return int(port) if port.isdecimal() else 0
