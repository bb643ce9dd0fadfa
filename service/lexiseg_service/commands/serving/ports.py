"""Check that ports are free, before slow imports."""

from __future__ import annotations

import socket

from lexiseg_service.errors import ServiceError
from lexiseg_service.wire.server import taken


class PortTaken(ServiceError):
    """A port that a server needs is taken."""


def refuse_taken(host: str, ports: dict[str, int]) -> None:
    """Check ports, given by the option that chooses them; 0 is always free.

    Raises:
        PortTaken: something listens there, or the port is not allowed; names every such port.
    """
    refused = [taken(f"{host}:{port}", option) for option, port in ports.items() if port and not _free(host, port)]
    if refused:
        raise PortTaken("\n".join(refused))


def _free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            listener.bind(address)
            listener.listen()  # binding alone succeeds where another has bound and not listened yet
    except OSError:
        return False
    return True
