"""`lexiseg serve`, `gateway`, `worker`, `trainer` and `mcp`: their options are settings, except `--http` of mcp."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Annotated

import typer

from lexiseg_service.commands.options import flag, takes_settings
from lexiseg_service.entry_points import ADAPTERS, entry_points_of, load
from lexiseg_service.errors import ServiceError
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


@takes_settings("serve")
def mcp(
    settings: Settings,
    http: Annotated[bool, typer.Option("--http", help="Serve at /mcp, beside REST, instead of over stdio")] = False,
) -> None:
    """Serve image tools for language models (MCP): segment, find, cut out, count, measure, compare.

    Over standard input and output, for a program that starts it; with --http for every client of the service. Files are
    read from the current folder, or --mcp-folder; with --http from --mcp-folder alone.

    Examples:

      lexiseg mcp --mcp-folder photos

      lexiseg mcp --http --http-port 8000
    """
    load(entry_points_of(ADAPTERS)["mcp"], "`lexiseg mcp`")
    if http:
        refuse_taken(settings, "http_port", "grpc_port")
        from lexiseg_service.commands.serving.serve import run

        adapters = tuple(dict.fromkeys([*settings.adapters, "mcp"]))
        raise typer.Exit(run(settings.model_copy(update={"adapters": adapters})))
    from lexiseg_service.adapters.mcp import serve_stdio
    from lexiseg_service.watch import logs
    from lexiseg_service.watch.metrics import Metrics
    from lexiseg_service.worker.worker import ModelWorker

    logs.configure(settings)  # to the standard error: the standard output carries the protocol
    metrics = Metrics()
    asyncio.run(serve_stdio(settings, ModelWorker(settings, metrics), metrics, settings.mcp_folder or Path.cwd()))


def refuse_taken(settings: Settings, *ports: str) -> None:
    """Check that the ports of these settings are free, before slow imports.

    Raises:
        PortTaken: something listens there, or the port is not allowed; names every such port.
    """
    host, numbers = settings.host, {name: getattr(settings, name) for name in ports}
    taken = {name: port for name, port in numbers.items() if port and not _free(host, port)}
    if taken:
        from lexiseg_service.wire.server import port_in_use

        raise PortTaken("\n".join(port_in_use(f"{host}:{port}", flag(name)) for name, port in taken.items()))


def _free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False
