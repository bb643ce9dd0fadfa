"""Closing a port without losing who is already at the door.

The system completes connections before anybody accepts them. Whoever stands in that line when the port is closed has
sent a request, perhaps, and hears a reset: he cannot know whether it was done. So no new connection is begun, those in
the line are accepted, and then the port is closed. Whoever knocks in between hears nothing, and a second later that
nobody listens.
"""

from __future__ import annotations

import asyncio
import ctypes
import select
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

SO_ATTACH_FILTER = 26  # asm-generic/socket.h
SYN = 0x02
FLAGS = 13  # byte of a TCP header
# Classic BPF over the TCP header: (code, jump if true, jump if false, constant). Sockets that are accepted inherit it;
# on these no segment has that flag.
NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, FLAGS),  # load the byte
    (0x45, 0, 1, SYN),  # if the flag is set go on, else skip one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)
HANDSHAKE_SECONDS = 0.05  # for connections that are half made
STEP_SECONDS = 0.005


async def empty(descriptors: Iterable[int], seconds: float) -> None:
    """Has the event loop accept all who stand at some listening sockets, and nobody after them.

    Where the system cannot keep new ones away, nothing is waited for.

    Args:
        descriptors: of the sockets, which the running loop accepts from.
        seconds: to wait at most.
    """
    closing = [descriptor for descriptor in descriptors if _keep_away(descriptor)]
    if not closing:
        return
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = select.poll()
    for descriptor in closing:
        waiting.register(descriptor, select.POLLIN)
    while (passed := loop.time() - began) < seconds and (passed < HANDSHAKE_SECONDS or waiting.poll(0)):
        await asyncio.sleep(STEP_SECONDS)


def _keep_away(descriptor: int) -> bool:
    """Has the system drop requests for new connections; False where it knows no such filter."""
    if not sys.platform.startswith("linux"):
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in NO_NEW_CONNECTIONS))
    described = struct.pack("HL", len(NO_NEW_CONNECTIONS), ctypes.addressof(program))
    with suppress(OSError), socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
        return True
    return False
