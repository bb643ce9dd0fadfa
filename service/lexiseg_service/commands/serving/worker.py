"""`lexiseg worker`: models and a device, for gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from lexiseg_model.errors import ModelError
from lexiseg_service.commands.serving.hosting import Server
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs
from lexiseg_service.watch.collectors import metrics_socket
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.probes import get_liveness, get_metrics, get_readiness
from lexiseg_service.watch.tracing import open_tracing
from lexiseg_service.worker.crash_record import CrashRecord
from lexiseg_service.worker.grpc_server import worker_server
from lexiseg_service.worker.worker import ModelWorker

GREETING = "worker for gateways on {grpc}, metrics on {url}/metrics"


def run(settings: Settings, socket: Path | None = None) -> int:
    """Serve gateways until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status.

    A gateway on the same machine is served at `socket`, instead of the ports of the settings.
    """
    logs.configure(settings, None if socket is None else socket.name)
    metrics = Metrics()
    tracing = open_tracing()
    crashes = None if socket is None else CrashRecord(socket)
    worker = ModelWorker(settings, metrics, lambda: server.give_up(), tracing, crashes)
    grpc = worker_server(worker, settings, metrics, socket)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await worker.start()
        yield
        await grpc.close()
        await worker.close()

    routes = [Route("/livez", get_liveness), Route("/readyz", get_readiness), Route("/metrics", get_metrics)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.use_case, app.state.metrics, app.state.grpc = worker, metrics, grpc
    if socket is None:
        server = Server(app, grpc, settings, settings.metrics_port, GREETING)
    else:
        server = Server(app, grpc, settings, 0, socket=metrics_socket(socket))
    status = server.run_to_end(tracing)
    if worker.failure is not None:
        raise ModelError(worker.failure)
    return status
