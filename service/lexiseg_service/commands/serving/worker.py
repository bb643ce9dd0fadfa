"""`lexiseg worker`: models and a device, for gateways elsewhere."""

from __future__ import annotations

from lexiseg_service.collector import seldom, set_aside
from lexiseg_service.commands.serving.allocator import bound_arenas, handing_back
from lexiseg_service.commands.serving.hosting import server_of
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import open_tracing
from lexiseg_service.worker.local import LocalWorker
from lexiseg_service.worker.ops import create_ops_app
from lexiseg_service.worker.rpc.server import worker_server


def run(settings: Settings) -> int:
    """Answers gateways until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status.

    Raises:
        ModelError: a model is unknown, or its weights or its card are missing or damaged; said before anything listens.
        InvalidValue: a setting is not as expected.
    """
    bound_arenas()
    logs.configure(settings)
    metrics = Metrics()
    tracing = open_tracing(settings)
    worker = LocalWorker(settings, metrics, lambda: server.give_up(), tracing, set_aside)
    grpc = worker_server(worker, settings, metrics)
    app = create_ops_app(worker, grpc, metrics)
    server = server_of(app, grpc, settings, settings.metrics_port, "--metrics-port", greeting)
    set_aside()
    with seldom(), handing_back():
        server.run()
    if tracing is not None:
        tracing.close()
    return 1 if server.failed else 0


def greeting(url: str, grpc: str) -> str:
    """What a worker says once it listens."""
    return f"worker for gateways on {grpc}, metrics on {url}/metrics"
