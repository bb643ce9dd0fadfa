"""The worker's gRPC server, for any number of gateways. It takes no API key; who they are, `wire.trust` may ask."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lexiseg_client.stubs.worker_pb2_grpc import add_WorkerServicer_to_server
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.channels import worker_options
from lexiseg_service.wire.server import GrpcServer, Pace, Place, Service
from lexiseg_service.wire.trust import Trust
from lexiseg_service.worker.rpc.servicer import STATUS_SECONDS, Servicer

# Between saying that it goes down and taking no more calls: what gateways have sent meanwhile is still answered.
LINGER_SECONDS = 0.3


def worker_server(backend: Backend, settings: Settings, metrics: Metrics, socket: Path | None = None) -> GrpcServer:
    """`lexiseg.v1.Worker` on the port of the settings, or on a Unix socket.

    Raises:
        InvalidValue: a certificate of ours is not as expected.
    """
    trust = Trust.of(settings)
    servicer = Servicer(backend, settings, metrics)
    service = Service(
        add=partial(add_WorkerServicer_to_server, servicer),
        health=lambda: {"": backend.health().ready},
        leave=servicer.leave,
        options=worker_options(),
        interceptors=trust.interceptors,
        credentials=trust.server_credentials,
    )
    if socket is None:
        place = Place(settings.host, settings.worker_port, "--worker-port")
    else:
        place = Place(f"unix:{socket}", 0, "--worker-port")
    return GrpcServer(service, place, Pace(STATUS_SECONDS, settings.drain_seconds, LINGER_SECONDS))
