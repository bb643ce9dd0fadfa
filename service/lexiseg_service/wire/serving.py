"""How a gRPC server of ours takes its port."""

from __future__ import annotations

import ipaddress

import grpc

UNIX = "unix:"


class CannotListen(Exception):
    """The port is taken or not ours to take; the message is for whoever started us."""


async def listen(
    server: grpc.aio.Server, host: str, port: int, option: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Binds a server, before it starts; the answer is the port, which 0 leaves to the system.

    A host `unix:PATH` is a Unix socket, without a port. Without credentials it takes any connection.

    Raises:
        CannotListen: it is taken; names the command line's option for another.
    """
    try:
        address = host if host.startswith(UNIX) else f"{bracketed(host)}:{port}"
        return server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        await server.stop(None)
        raise CannotListen(taken(f"{host}:{port}", option)) from None


def bracketed(host: str) -> str:
    """A host as it stands before a port: IPv6 addresses in brackets."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def taken(where: str, option: str) -> str:
    """What is said of an address that cannot be listened on: `make serve` takes no options, but the environment's."""
    variable = "LEXISEG_" + option.removeprefix("--").replace("-", "_").upper()
    return f"cannot listen on {where}; is it taken? Choose another with {option}, or in {variable}"
