"""The gateway's gRPC server: servicer, health of every model, reflection; starts and drains with the rest."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lexiseg_service.gateway.admission.keys import KeyRing
from lexiseg_service.gateway.admission.limits import Gate
from lexiseg_service.gateway.rpc.frame import CallFrame
from lexiseg_service.gateway.rpc.segmentation import Servicer, Video
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.settings import Settings
from lexiseg_service.stubs import segmentation_pb2
from lexiseg_service.stubs.segmentation_pb2_grpc import add_SegmentationServicer_to_server
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.channels import public_options
from lexiseg_service.wire.serving import drain, listen

SERVICE = segmentation_pb2.DESCRIPTOR.services_by_name["Segmentation"].full_name
HEALTH_SECONDS = 0.25  # between two looks at the backend
SECONDS_TO_SAY_SO = 1.0  # to those who watch the health, and may have stopped reading
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class GrpcServer:
    """`lexiseg.v1.Segmentation` on a port of its own."""

    def __init__(
        self,
        settings: Settings,
        use_case: UseCase,
        video: Video,
        metrics: Metrics,
        keys: KeyRing,
        gate: Gate | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._use_case = use_case
        self._video = video
        self._servicer = Servicer(use_case, settings.limits, metrics, video)
        self._frame = CallFrame(keys, gate, metrics, settings.stream_idle_seconds, tracing)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._told: dict[str, bool] = {}
        self.port = 0

    async def start(self) -> None:
        """Listens.

        Raises:
            CannotListen: the port is taken or not ours to take.
        """
        server = grpc.aio.server(interceptors=[self._frame], options=public_options(self._settings))
        add_SegmentationServicer_to_server(self._servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._settings.grpc_reflection:
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        self.port = await listen(server, self._settings.host, self._settings.grpc_port, "--grpc-port")
        await self._tell_health()
        await server.start()
        self._server = server
        self._watching = asyncio.create_task(self._watch())

    def leave(self) -> None:
        """Says "not serving" at once, takes no new calls, and waits in the background for those that run."""
        if self._closing is None and self._server is not None:
            self._video.leave()
            self._closing = asyncio.create_task(self._close(self._server))

    async def close(self) -> None:
        """Leaves, and comes back when no call runs any more, or when they have had time enough."""
        self.leave()
        if self._closing is not None:
            await self._closing

    async def _close(self, server: grpc.aio.Server) -> None:
        if self._watching is not None:
            self._watching.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._health.enter_graceful_shutdown(), SECONDS_TO_SAY_SO)
        await drain(server, lambda: self._frame.running, self._settings.drain_seconds)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            await self._tell_health()

    async def _tell_health(self) -> None:
        health = self._use_case.health()
        ready = health.ready
        models = {card.name: ready and card.name not in health.away for card in self._use_case.backend.cards()}
        gone = dict.fromkeys(self._told.keys() - models.keys(), False)
        for name, serving in {**gone, **models, "": ready, SERVICE: ready}.items():
            if self._told.get(name) != serving:
                self._told[name] = serving
                await self._health.set(name, SERVING if serving else NOT_SERVING)
