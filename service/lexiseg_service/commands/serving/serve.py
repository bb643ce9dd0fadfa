"""`lexiseg serve`: the gateway and a worker in one process."""

from __future__ import annotations

from lexiseg_service.adapters.loading import install
from lexiseg_service.collector import seldom, set_aside
from lexiseg_service.commands.serving.allocator import bound_arenas, handing_back
from lexiseg_service.commands.serving.hosting import greeting_of_gateway, server_of
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import open_tracing
from lexiseg_service.worker.local import LocalWorker


def run(settings: Settings) -> int:
    """Serves until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status.

    Raises:
        ModelError: a model is unknown, or its weights or its card are missing or damaged; said before anything listens.
        InvalidValue: a setting is not as expected.
    """
    bound_arenas()
    logs.configure(settings)
    metrics = Metrics()
    tracing = open_tracing(settings)
    worker = LocalWorker(settings, metrics, lambda: server.give_up(), tracing, set_aside)
    app = create_app(settings, worker, metrics, tracing=tracing)
    install(app, settings)
    server = server_of(app, app.state.grpc, settings, settings.http_port, "--http-port", greeting_of_gateway)
    set_aside()
    with seldom(), handing_back():
        server.run()
    if tracing is not None:
        tracing.close()
    return 1 if server.failed else 0
