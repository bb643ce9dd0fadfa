"""`lexiseg gateway`: REST and gRPC in front of workers. It imports no torch and no model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lexiseg_service.commands.serving.hosting import Server
from lexiseg_service.errors import InvalidValue
from lexiseg_service.fleet.remote import RemoteBackend
from lexiseg_service.gateway.adapter import install
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import open_tracing

POLL_SECONDS = 0.05  # between two looks for the first worker
GREETING = "on {url}  (open it in a browser to try it; every route: {url}/docs), gRPC on {grpc}"


def run(settings: Settings, workers: Sequence[Path] = ()) -> int:
    """Serve until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status.

    `workers` are sockets of workers on this machine; their metrics are shown with the gateway's own.
    """
    named = ",".join(settings.workers)
    if ":" not in named:  # none, or a number of workers, which is for `serve`
        raise InvalidValue.of("--workers / LEXISEG_WORKERS", named, "HOST:PORT or dns:///HOST:PORT, between commas")
    logs.configure(settings, "gateway" if workers else None)
    metrics = Metrics(workers)
    tracing = open_tracing()
    app = create_app(settings, RemoteBackend(settings, metrics), metrics, tracing=tracing)
    install(app, settings.adapters)
    server = Server(app, app.state.grpc, settings, settings.http_port, GREETING)
    # Once the first worker has found its models: errors in them are reported before anything listens.
    while workers and not workers[0].exists():
        time.sleep(POLL_SECONDS)
    return server.run_to_end(tracing)
