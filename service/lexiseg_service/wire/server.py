"""A gRPC server of ours from its first call to its last: what the gateway's and the worker's have in common.

listen, tell the health -> serve, look at the health now and then -> say that it ends, refuse new calls, drain
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

    add: Callable[[grpc.aio.Server], None]  # its servicers
    health: Callable[[], Mapping[str, bool]]  # of each name that may be asked for; "" is the whole server
    leave: Callable[[], None]  # lets what lasts come to an end: the server goes down
    options: Options
    interceptors: Sequence[grpc.aio.ServerInterceptor] = field(default=())
    credentials: grpc.ServerCredentials | None = None  # None takes any connection


@dataclass(frozen=True)
class Place:
    """Where a server listens; `option` of the command line chooses another port, 0 leaves it to the system."""

    host: str
    port: int
    option: str


@dataclass(frozen=True)
class Pace:
    """Seconds. `linger`: between saying that it goes down and taking no more calls; what was sent is answered still."""

    look: float  # between two looks at the health, for those who watch it
    drain: float  # for calls that run when the server leaves
    linger: float = 0.0


class GrpcServer:
    """One service on a port, with the standard health service beside it."""

    def __init__(self, service: Service, place: Place, pace: Pace) -> None:
        self._service = service
        self._place = place
        self._pace = pace
        self._health = Health(self._now)
        self._server: grpc.aio.Server | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listens.

        Raises:
            CannotListen: the port is taken or not ours to take.
        """
        server = grpc.aio.server(interceptors=self._service.interceptors, options=self._service.options)
        self._service.add(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.port = await listen(
            server, self._place.host, self._place.port, self._place.option, self._service.credentials
        )
        self._health.look()
        await server.start()
        self._server = server
        self._watching = asyncio.create_task(self._watch())

    def leave(self) -> None:
        """Says that it goes down, takes no new calls, and waits in the background for those that run."""
        if self._closing is None and self._server is not None:
            self._service.leave()
            self._closing = asyncio.create_task(self._close(self._server))

    async def close(self) -> None:
        """Leaves, and comes back when no call runs any more, or when they have had time enough."""
        self.leave()
        if self._closing is not None:
            await self._closing

    async def _close(self, server: grpc.aio.Server) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._health.look()
        self._health.close()
        await asyncio.sleep(self._pace.linger)
        await server.stop(self._pace.drain)

    def _now(self) -> Mapping[str, bool]:
        now = self._service.health()
        return now if self._closing is None else dict.fromkeys(now, False)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pace.look)
            self._health.look()
