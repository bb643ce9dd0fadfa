"""A gRPC server with the standard health service, for gateways and workers.

listen -> serve -> report NOT_SERVING, refuse new calls, drain
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lexiseg_service.settings import Settings

# Generic only for the type checker.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
UNIX = "unix:"
Response = health_pb2.HealthCheckResponse
Options = list[tuple[str, int | str]]
# An overlay or a label map of a large image passes between worker and gateway, too.
MAX_INTERNAL_BYTES = 256 * 2**20
# Seconds without traffic until a keepalive ping, and seconds to wait for its answer.
CLIENT_SILENT, CLIENT_PING = 30.0, 10.0
WORKER_SILENT, WORKER_PING = 5.0, 5.0
CLIENT_IDLE = 300.0  # seconds without a call, then a client's connection is closed
# Clients reconnect that often, so that new gateways get their share and a gateway that shuts down is left in time; open
# calls have the grace. HTTP connections have the same age. The Helm chart waits for the age before it stops a gateway.
CONNECTION_AGE = 20.0
CONNECTION_GRACE = 2100.0
MIN_CLIENT_PING_INTERVAL = 10.0  # seconds


class CannotListen(Exception):
    """The port is taken or not permitted; the message is for the operator."""


def bracketed(host: str) -> str:
    """A host before a port: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def port_in_use(where: str, option: str) -> str:
    """The message about an address that cannot be used, with the option and the variable for another one."""
    variable = "LEXISEG_" + option.removeprefix("--").replace("-", "_").upper()
    return f"cannot listen on {where}; is it taken? Choose another with {option}, or in {variable}"


@dataclass(eq=False)
class GrpcServer(health_pb2_grpc.HealthServicer):
    """Services on a port, and the standard health service. Times are in seconds.

    The health service is not grpcio's own: there one watcher that reads nothing blocks all others, and watches last
    until the end of a drain.
    """

    add: Callable[[grpc.aio.Server], None]  # adds the servicers
    health: Callable[[], Mapping[str, bool]]  # whether each name is served; "" is the whole server
    on_leave: Callable[[], None]  # ends long streams when the server shuts down
    options: Options
    host: str  # unix:PATH is a Unix socket
    port: int  # 0: a free one, until it listens
    option: str  # that sets the port
    drain: float  # for calls in flight at shutdown
    health_interval: float  # between two checks of a health watch
    linger: float = 0.0  # between reporting NOT_SERVING and refusing calls
    interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
    credentials: grpc.ServerCredentials | None = None  # None accepts any connection

    def __post_init__(self) -> None:
        self._server: grpc.aio.Server | None = None
        self._leaving = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        server = grpc.aio.server(interceptors=self.interceptors, options=self.options)
        self.add(server)
        health_pb2_grpc.add_HealthServicer_to_server(self, server)
        address = self.host if self.host.startswith(UNIX) else f"{bracketed(self.host)}:{self.port}"
        try:
            if self.credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self.credentials)
        except RuntimeError:
            await server.stop(None)
            raise CannotListen(port_in_use(f"{self.host}:{self.port}", self.option)) from None
        await server.start()
        self._server = server

    def leave(self) -> None:
        """Begin to shut down: report NOT_SERVING, refuse new calls, drain in the background."""
        if self._closing is None and self._server is not None:
            self.on_leave()
            self._leaving.set()
            self._closing = asyncio.create_task(self._close(self._server))

    async def close(self) -> None:
        """Shut down; return when no call is in flight or the drain time is over."""
        self.leave()
        if self._closing is not None:
            await self._closing

    async def _close(self, server: grpc.aio.Server) -> None:
        await asyncio.sleep(self.linger)
        await server.stop(self.drain)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Any:
        status = self._status(request.service)
        if status == Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of this name")
        return Response(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """The present state of a name, and each change; ends when the server shuts down."""
        latest = None
        while True:
            last = self._leaving.is_set()
            status = self._status(request.service)
            if status != latest:
                await context.write(Response(status=status))
                latest = status
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), self.health_interval)

    def _status(self, name: str) -> Any:
        served = self.health().get(name)
        if served is None:
            return Response.SERVICE_UNKNOWN
        return Response.SERVING if served and not self._leaving.is_set() else Response.NOT_SERVING


def public_options(settings: Settings) -> Options:
    return [
        # Without SO_REUSEPORT a second server on the port fails instead of sharing the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.limits.grpc_bytes),
        ("grpc.max_send_message_length", settings.limits.grpc_bytes),
        ("grpc.max_concurrent_streams", 100),
        # Keeps the flow-control window of an unread message at 64 KiB; the probe would grow it to megabytes.
        ("grpc.http2.bdp_probe", 0),
        *_keepalive(CLIENT_SILENT, CLIENT_PING),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(1e3 * MIN_CLIENT_PING_INTERVAL)),
        ("grpc.max_connection_age_ms", round(1e3 * CONNECTION_AGE)),
        ("grpc.max_connection_age_grace_ms", round(1e3 * CONNECTION_GRACE)),
        ("grpc.max_connection_idle_ms", round(1e3 * CLIENT_IDLE)),
    ]


def worker_options() -> Options:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_INTERNAL_BYTES),
        ("grpc.max_send_message_length", MAX_INTERNAL_BYTES),
        *_keepalive(CLIENT_SILENT, CLIENT_PING),  # ends the streams of a gateway that vanished
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", round(1e3 * WORKER_SILENT / 2)),
    ]


def gateway_options() -> Options:
    """Options of a gateway's channel to one worker."""
    return [
        ("grpc.max_receive_message_length", MAX_INTERNAL_BYTES),
        ("grpc.max_send_message_length", MAX_INTERNAL_BYTES),
        *_keepalive(WORKER_SILENT, WORKER_PING),
        # A worker that returns is used again within about a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),  # a removed worker leaves nothing behind
        ("grpc.enable_retries", 0),  # the gateway retries itself
        ("grpc.enable_http_proxy", 0),  # a proxy of the environment is not for the cluster
    ]


def _keepalive(silent: float, ping: float) -> Options:
    return [
        ("grpc.keepalive_time_ms", round(1e3 * silent)),
        ("grpc.keepalive_timeout_ms", round(1e3 * ping)),
        # The longer of both timeouts counts; this one is a minute by default.
        ("grpc.http2.ping_timeout_ms", round(1e3 * ping)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
