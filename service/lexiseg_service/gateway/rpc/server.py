"""The gateway's gRPC server: servicer, health of every model, reflection; starts and drains with the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from lexiseg_client.stubs import segmentation_pb2
from lexiseg_client.stubs.segmentation_pb2_grpc import add_SegmentationServicer_to_server
from lexiseg_service.gateway.admission.door import Door
from lexiseg_service.gateway.parsing import Parsing
from lexiseg_service.gateway.rpc.frame import CallFrame
from lexiseg_service.gateway.rpc.segmentation import Servicer, Video
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.channels import public_options
from lexiseg_service.wire.server import GrpcServer, Pace, Place, Service

SERVICE = segmentation_pb2.DESCRIPTOR.services_by_name["Segmentation"].full_name
HEALTH_SECONDS = 0.25  # between two looks at the backend


class MoreService(NamedTuple):
    """A service beside ours: its name, and what adds its servicer."""

    name: str
    add: Callable[[grpc.aio.Server], None]


def gateway_server(
    settings: Settings,
    use_case: UseCase,
    video: Video,
    metrics: Metrics,
    door: Door,
    parsing: Parsing,
    tracing: Tracing | None = None,
    more: Sequence[MoreService] = (),
) -> GrpcServer:
    """`lexiseg.v1.Segmentation` on a port of its own; `more` is read when it starts."""
    servicer = Servicer(use_case, settings.limits, metrics, video, parsing)
    frame = CallFrame(door, settings, metrics, tracing)

    def add(server: grpc.aio.Server) -> None:
        add_SegmentationServicer_to_server(servicer, server)
        for other in more:
            other.add(server)
        names = (SERVICE, *(other.name for other in more))
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    def health_of_each() -> dict[str, bool]:
        now = use_case.health()
        models = {card.name: now.ready and card.name not in now.away for card in use_case.backend.cards()}
        services = dict.fromkeys((SERVICE, *(other.name for other in more)), now.ready)
        return {**models, "": now.ready, **services}

    options = public_options(settings)
    service = Service(add, health_of_each, video.leave, options, (frame,))
    place = Place(settings.host, settings.grpc_port, "--grpc-port")
    return GrpcServer(service, place, Pace(HEALTH_SECONDS, settings.drain_seconds))
