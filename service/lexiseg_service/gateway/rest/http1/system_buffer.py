"""What the system holds of an answer that its client has not confirmed, and how much of it there may be."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

try:
    import fcntl
    import termios
except ImportError:  # Windows
    ioctl, queued = None, 0
else:
    ioctl, queued = fcntl.ioctl, termios.TIOCOUTQ

MOST_UNSENT = 256 * 2**10  # bytes for which the client has no room yet; Linux alone would take megabytes
INT = struct.Struct("i")


def bound_unsent(own: socket.socket) -> None:
    """Has the system take little more than its client does, where the system knows of such a bound."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)


def unconfirmed(own: socket.socket) -> int:
    """Bytes that were handed to the system and not confirmed; 0 where it does not tell."""
    if ioctl is None:
        return 0
    try:
        return int(INT.unpack(ioctl(own.fileno(), queued, bytes(INT.size)))[0])
    except OSError:  # no connection any more
        return 0
