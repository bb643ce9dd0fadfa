"""Ports for servers that cannot be told to take any."""

import socket


def free_port() -> int:
    """One that nobody listens on at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
