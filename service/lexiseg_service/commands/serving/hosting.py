"""Serve an application over HTTP and gRPC in one process: greeting, signals, drain, exit status."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lexiseg_service.settings import Settings
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.server import CONNECTION_AGE, CannotListen, GrpcServer, bracketed

KEEP_ALIVE_SECONDS = 20  # between two requests of a connection; longer than clients keep theirs
MAX_CONNECTIONS = 1000  # of HTTP at a time; more get 503
LINGER_SECONDS = 0.5  # between the first sign of the shutdown and closing the port
EVERYWHERE = ("127.0.0.1", "::1", "0.0.0.0", "::")


class AgingConnection(HttpToolsProtocol):
    """An HTTP connection that ends with an answer once it is `CONNECTION_AGE` old, as gRPC's do.

    A gateway that leaves a load balancer has lost the clients that go on asking before it is stopped.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._last_reuse = self.loop.time() + CONNECTION_AGE

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None and self.loop.time() > self._last_reuse:
            self.cycle.keep_alive = False


class Server(uvicorn.Server):
    """uvicorn that also starts a gRPC server, prints a greeting, and exits with 0 after a requested stop.

    It stops on SIGINT and SIGTERM; requests in flight are answered first.
    """

    def __init__(
        self,
        app: ASGIApp,
        grpc: GrpcServer,
        settings: Settings,
        http_port: int,
        greeting: str = "",  # with places for the base URL `url` and the gRPC address `grpc`; "" prints nothing
        socket: Path | None = None,  # a Unix socket that HTTP listens on, instead of host and port
    ) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=http_port,
            uds=None if socket is None else str(socket),
            http=AgingConnection,
            ws="none",
            log_config=None,
            access_log=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
        )
        super().__init__(config)
        self.failed = False
        self.linger = LINGER_SECONDS
        self._grpc = grpc
        self._greeting = greeting

    def run_to_end(self, tracing: Tracing | None) -> int:
        """Serve until a signal, send the last spans, and return the exit status."""
        self.run()
        if tracing is not None:
            tracing.close()
        return 1 if self.failed else 0

    def give_up(self) -> None:
        self.failed = True
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # uvicorn would raise the signal once more and die of it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        try:
            await self._grpc.start()
        except CannotListen as error:
            typer.echo(f"lexiseg: {error}", err=True)
            self.give_up()
            return
        if not self._greeting:
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        address = "localhost" if host in EVERYWHERE else bracketed(host)
        where = self._greeting.format(url=f"http://{address}:{port}", grpc=f"{address}:{self._grpc.port}")
        typer.echo(f"lexiseg {version('lexiseg')} {where}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._grpc.leave()
        # Clients send no further request over a connection after this header.
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(self.linger)  # requests that clients have sent meanwhile are still answered
        await super().shutdown(sockets)
        if self.force_exit and isinstance(self.lifespan, LifespanOn):
            # Cancelling the application at exit is not an error.
            self.lifespan.logger = logging.Logger("uvicorn.error", logging.CRITICAL)
