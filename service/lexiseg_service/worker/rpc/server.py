"""The worker's gRPC server, for any number of gateways. It takes no API key; its port is for the cluster."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.stubs.worker_pb2_grpc import add_WorkerServicer_to_server
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.channels import worker_options
from lexiseg_service.wire.serving import drain, listen
from lexiseg_service.worker.rpc.servicer import STATUS_SECONDS, Servicer

# Between saying that it goes down and taking no more calls: what gateways have sent meanwhile is still answered.
LINGER_SECONDS = 0.3
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class WorkerServer:
    """`lexiseg.v1.Worker` on a port, with the standard health service."""

    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self._backend = backend
        self._settings = settings
        self._servicer = Servicer(backend, settings, metrics)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listens.

        Raises:
            CannotListen: the port is taken or not ours to take.
        """
        server = grpc.aio.server(options=worker_options())
        add_WorkerServicer_to_server(self._servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.port = await listen(server, self._settings.host, self._settings.worker_port, "--worker-port")
        await self._health.set("", NOT_SERVING)
        await server.start()
        self._server = server
        self._watching = asyncio.create_task(self._watch())

    def leave(self) -> None:
        """Says that it goes down, and after a moment takes no new calls; waits in the background for those that run."""
        if self._closing is None and self._server is not None:
            self._servicer.leave()
            self._closing = asyncio.create_task(self._close(self._server))

    async def close(self) -> None:
        """Leaves, and comes back when no call runs any more, or when they have had time enough."""
        self.leave()
        if self._closing is not None:
            await self._closing

    async def _close(self, server: grpc.aio.Server) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self._health.set("", NOT_SERVING)
        await asyncio.sleep(LINGER_SECONDS)
        await drain(server, lambda: self._servicer.running, self._settings.drain_seconds)

    async def _watch(self) -> None:
        reported = False
        while True:
            ready = self._backend.health().ready
            if ready != reported:
                await self._health.set("", SERVING if ready else NOT_SERVING)
                reported = ready
            await asyncio.sleep(STATUS_SECONDS)
