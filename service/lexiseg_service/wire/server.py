"""A gRPC server with the standard health service, for gateways and workers.

listen -> serve -> report that it goes down, refuse new calls, drain
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
from grpc_health.v1 import health_pb2_grpc

from lexiseg_service.wire.channels import Options
from lexiseg_service.wire.health import Health
from lexiseg_service.wire.serving import listen


@dataclass(frozen=True)
class Service:
    """What runs on a server."""

    add: Callable[[grpc.aio.Server], None]  # adds its servicers
    health: Callable[[], Mapping[str, bool]]  # whether each name is served; "" is the whole server
    leave: Callable[[], None]  # ends long streams, because the server goes down
    options: Options
    interceptors: Sequence[grpc.aio.ServerInterceptor] = field(default=())
    credentials: grpc.ServerCredentials | None = None  # None takes any connection


@dataclass(frozen=True)
class Place:
    """Where a server listens (port 0: any free one); `option` is the command line's name of the port."""

    host: str
    port: int
    option: str


@dataclass(frozen=True)
class Pace:
    """Times in seconds."""

    look: float  # between two looks of those who watch the health
    drain: float  # for calls in flight when the server goes down
    linger: float = 0.0  # between reporting that it goes down and refusing calls


class GrpcServer:
    """One service on a port, with the standard health service beside it."""

    def __init__(self, service: Service, place: Place, pace: Pace) -> None:
        self._service = service
        self._place = place
        self._pace = pace
        self._health = Health(self._now, pace.look)
        self._server: grpc.aio.Server | None = None
        self._closing: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            CannotListen: the port is taken or not ours to take.
        """
        server = grpc.aio.server(interceptors=self._service.interceptors, options=self._service.options)
        self._service.add(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.port = await listen(
            server, self._place.host, self._place.port, self._place.option, self._service.credentials
        )
        await server.start()
        self._server = server

    def leave(self) -> None:
        """Begin to go down: report it, refuse new calls, drain in the background."""
        if self._closing is None and self._server is not None:
            self._service.leave()
            self._closing = asyncio.create_task(self._close(self._server))

    async def close(self) -> None:
        """Go down; return when no call is in flight or the drain time is over."""
        self.leave()
        if self._closing is not None:
            await self._closing

    async def _close(self, server: grpc.aio.Server) -> None:
        self._health.close()
        await asyncio.sleep(self._pace.linger)
        await server.stop(self._pace.drain)

    def _now(self) -> Mapping[str, bool]:
        now = self._service.health()
        return now if self._closing is None else dict.fromkeys(now, False)
