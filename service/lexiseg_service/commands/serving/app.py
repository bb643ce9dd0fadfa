"""`lexiseg serve`, `gateway` and `worker`: the settings are all their options."""

from __future__ import annotations

import socket

import typer

from lexiseg_service.commands.options import flag, takes_settings
from lexiseg_service.errors import ServiceError
from lexiseg_service.settings import Settings
from lexiseg_service.wire.server import port_in_use


class PortTaken(ServiceError):
    """A port that a server needs is taken."""


@takes_settings("serve")
def serve(settings: Settings) -> None:
    """Serve masks over HTTP and gRPC: a gateway process and a worker process.

    Examples:

      lexiseg serve --http-port 8080 --log-level debug

      lexiseg serve --model tiny,dense-clip --workers 2
    """
    refuse_taken(settings, "http_port", "grpc_port")
    from lexiseg_service.commands.serving.serve import run

    raise typer.Exit(run(settings))


@takes_settings("gateway")
def gateway(settings: Settings) -> None:
    """Serve REST and gRPC in front of workers elsewhere; loads no model.

    Examples:

      lexiseg gateway --workers 10.0.0.7:50061,10.0.0.8:50061

      lexiseg gateway --workers dns:///workers:50061 --http-port 8080
    """
    refuse_taken(settings, "http_port", "grpc_port")
    from lexiseg_service.commands.serving.gateway import run

    raise typer.Exit(run(settings))


@takes_settings("worker")
def worker(settings: Settings) -> None:
    """Serve models on a device to gateways. Its ports take no API key: keep them inside the cluster.

    Example:  lexiseg worker --host 0.0.0.0 --model tiny
    """
    refuse_taken(settings, "worker_port", "metrics_port")
    from lexiseg_service.commands.serving.worker import run

    raise typer.Exit(run(settings))


def refuse_taken(settings: Settings, *ports: str) -> None:
    """Check that the ports of these settings are free, before slow imports.

    Raises:
        PortTaken: something listens there, or the port is not allowed; names every such port.
    """
    host, numbers = settings.host, {name: getattr(settings, name) for name in ports}
    refused = [
        port_in_use(f"{host}:{port}", flag(name)) for name, port in numbers.items() if port and not _free(host, port)
    ]
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
