"""Free ports for servers that need a number in advance."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A free TCP port on 127.0.0.1, below the range from which the system assigns ports.

    So no client and no server that binds port 0 gets it before its server listens, or while that restarts.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
