"""`lexiseg serve`, `gateway`, `worker` and `trainer`: their options are settings."""

from __future__ import annotations

import socket

import typer

from lexiseg_service.commands.options import flag, takes_settings
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.settings import Settings


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


@takes_settings("trainer")
def trainer(settings: Settings) -> None:
    """Tune models on the pictures that clients send to POST /v1/trainings, one training at a time.

    Example:  lexiseg trainer --trainings trainings --models-dir models
    """
    from lexiseg_service.commands.serving.trainer import run

    raise typer.Exit(run(settings))


def refuse_taken(settings: Settings, *ports: str) -> None:
    host = settings.host
    if not _free(host, 0):
        raise InvalidValue.of("--host / LEXISEG_HOST", host, "an address or a name of this machine, without a port")
    numbers = {name: getattr(settings, name) for name in ports}
    busy = {name: port for name, port in numbers.items() if port and not _free(host, port)}
    if busy:
        from lexiseg_service.wire.server import port_in_use

        raise PortTaken("\n".join(port_in_use(f"{host}:{port}", flag(name)) for name, port in busy.items()))


def _free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False
