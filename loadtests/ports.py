"""Ports for servers that cannot be told to take any."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """For what cannot be told to take any.

    Below those that the system gives to whoever takes any, and to clients: nobody else gets it until it is listened on,
    nor while its server is away.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
