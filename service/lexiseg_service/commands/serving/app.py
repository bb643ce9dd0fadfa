"""`lexiseg serve`, `gateway` and `worker`: the settings are all their options."""

from __future__ import annotations

import typer

from lexiseg_service.commands.interrupts import heard_at_once
from lexiseg_service.commands.options import Chosen, takes_settings
from lexiseg_service.commands.serving.ports import refuse_taken


@takes_settings("serve")
def serve(chosen: Chosen) -> None:
    """Serve masks over HTTP and gRPC: a gateway process and a worker process.

    Examples:

      lexiseg serve --http-port 8080 --log-format console

      lexiseg serve --model tiny,dense-clip --workers 2
    """
    with heard_at_once():
        refuse_taken(
            chosen.settings.host, {"--http-port": chosen.settings.http_port, "--grpc-port": chosen.settings.grpc_port}
        )
        from lexiseg_service.commands.serving.serve import run

        raise typer.Exit(run(chosen.settings))


@takes_settings("gateway")
def gateway(chosen: Chosen) -> None:
    """Serve REST and gRPC in front of workers elsewhere; loads no model.

    Examples:

      lexiseg gateway --workers 10.0.0.7:50061,10.0.0.8:50061

      lexiseg gateway --workers dns:///workers:50061 --http-port 8080
    """
    with heard_at_once():
        refuse_taken(
            chosen.settings.host, {"--http-port": chosen.settings.http_port, "--grpc-port": chosen.settings.grpc_port}
        )
        from lexiseg_service.commands.serving.gateway import run

        raise typer.Exit(run(chosen.settings))


@takes_settings("worker")
def worker(chosen: Chosen) -> None:
    """Serve models on a device to gateways. Its ports take no API key: keep them inside the cluster.

    Example:  lexiseg worker --host 0.0.0.0 --model tiny
    """
    with heard_at_once():
        refuse_taken(
            chosen.settings.host,
            {"--worker-port": chosen.settings.worker_port, "--metrics-port": chosen.settings.metrics_port},
        )
        from lexiseg_service.commands.serving.worker import run

        raise typer.Exit(run(chosen.settings))
