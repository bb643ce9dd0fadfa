"""Connections of a test's own, of which both ends are at hand."""

from __future__ import annotations

import socket
from contextlib import ExitStack

PATIENCE = 30.0  # seconds that nothing here should need
PIECE = bytes(2**16)


class Line:
    """A listener, and connections that it has accepted, whose bytes are read as they come."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]

    def connect(self) -> Caller:
        client = self._opened.enter_context(socket.create_connection(("127.0.0.1", self.port), PATIENCE))
        served = self._opened.enter_context(self._listener.accept()[0])
        served.settimeout(PATIENCE)
        return Caller(client, served)


class Caller:
    """Both ends of one connection."""

    def __init__(self, client: socket.socket, served: socket.socket) -> None:
        self._client, self._served = client, served
        self.port: int = client.getsockname()[1]

    def send(self, n_bytes: int) -> None:
        while n_bytes > 0:
            n_sent = self._client.send(PIECE[:n_bytes])
            n_bytes -= n_sent
            while n_sent:
                n_sent -= len(self._served.recv(n_sent))

    def leave(self) -> None:
        """Ends it on both sides."""
        self._client.close()
        self._served.close()

    @property
    def is_cut_off(self) -> bool:
        self._client.setblocking(False)
        try:
            return self._client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self._client.settimeout(PATIENCE)
