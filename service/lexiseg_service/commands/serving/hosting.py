"""Serving an application over HTTP and gRPC in one process: says where it listens, drains both, ends with a status."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Protocol, cast

import typer
import uvicorn
from starlette.types import ASGIApp
from uvicorn.lifespan.on import LifespanOn

from lexiseg_service.commands.serving import backlog
from lexiseg_service.commands.serving.descriptors import take_all_descriptors
from lexiseg_service.commands.serving.early import import_early
from lexiseg_service.gateway.rest.http1.connection import TimedProtocol
from lexiseg_service.gateway.rest.http1.connections import Connections
from lexiseg_service.settings import Settings
from lexiseg_service.short_turns import shorten_turns_of_the_lock, take_short_turns
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.serving import CannotListen, bracketed, taken

LINGER_SECONDS = 0.5  # for requests on their way to a process that goes down
LAST_SECONDS = 0.5  # likewise, on connections that were just made
EVERYWHERE = ("127.0.0.1", "::1", "0.0.0.0", "::")


class Grpc(Protocol):
    """A gRPC server beside the HTTP one; the application closes it before what it depends on."""

    port: int

    async def start(self) -> None:
        """Listens.

        Raises:
            CannotListen: it may not.
        """
        ...

    def leave(self) -> None:
        """Takes no new calls from now on."""
        ...


class Server(uvicorn.Server):
    """Says where it listens once it does; a stop that was asked for is a success.

    Args:
        config: of the HTTP server.
        grpc: the server beside it.
        connections: of the HTTP server.
        drain: seconds for requests in flight when it is to end.
        http_option: of the command line, to choose another port.
        greeting: what to say, from the base URL and the gRPC address.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        grpc: Grpc,
        connections: Connections,
        drain: float,
        http_option: str,
        greeting: Callable[[str, str], str],
    ) -> None:
        super().__init__(config)
        self.failed = False
        self.linger, self.last = LINGER_SECONDS, LAST_SECONDS
        self._grpc = grpc
        self._connections = connections
        self._drain = drain
        self._http_option = http_option
        self._greeting = greeting

    def give_up(self) -> None:
        """Ends with a failure; safe to call from any thread."""
        self.failed = True
        self.should_exit = True

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        take_short_turns()
        shorten_turns_of_the_lock()
        take_all_descriptors()
        import_early()
        super().run(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals(), self._hanging_up():
            yield
            # Everything is answered and closed: uvicorn would now die of the signal once more.
            self._captured_signals.clear()

    @contextmanager
    def _hanging_up(self) -> Iterator[None]:
        """Who closes the terminal asks for an end as SIGTERM does, unless somebody (nohup) has said to go on."""
        if (
            sys.platform == "win32"
            or threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        ):
            yield
            return
        signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn's way to say so
            where = f"{self.config.host}:{self.config.port}"
            typer.echo(f"lexiseg: {taken(where, self._http_option)}", err=True)
            raise SystemExit(1) from None
        if not self.started:
            return
        try:
            await self._grpc.start()
        except CannotListen as error:
            typer.echo(f"lexiseg: {error}", err=True)
            self.give_up()
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = "localhost" if host in EVERYWHERE else bracketed(host)
        typer.echo(
            f"lexiseg {version('lexiseg')} " + self._greeting(f"http://{shown}:{port}", f"{shown}:{self._grpc.port}")
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._grpc.leave()
        self._connections.leave()
        # Requests that are on their way on kept connections are answered, and told that they are the last.
        await asyncio.sleep(self.linger)
        # Who connects from now on is refused and asks elsewhere; who has just come, and says something, is answered.
        listening = [each.fileno() for server in self.servers for each in server.sockets]
        await backlog.empty(listening, self.last)
        for server in self.servers:
            server.close()
        until = time.monotonic() + self.last
        while len(self._connections) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        # A moment before uvicorn has no more patience: it would cancel them without a word that helps.
        giving_up = asyncio.get_running_loop().call_later(self._drain, self._connections.give_up)
        await super().shutdown(sockets)
        giving_up.cancel()
        if self.force_exit and isinstance(self.lifespan, LifespanOn):
            # The application is asked for nothing any more, and cancelled with all else: that is no error.
            self.lifespan.logger = logging.Logger("uvicorn.error", logging.CRITICAL)


def server_of(
    app: ASGIApp,
    grpc: Grpc,
    settings: Settings,
    metrics: Metrics,
    http_port: int,
    http_option: str,
    greeting: Callable[[str, str], str],
) -> Server:
    """A server that is ready to run; it stops on SIGINT, SIGTERM and SIGHUP, requests in flight are answered first."""
    connections = Connections(settings, lambda reason: metrics.ended.labels(reason).inc())
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=http_port,
        http=cast("type[asyncio.Protocol]", partial(TimedProtocol, connections)),  # which is called and no more
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
    )
    return Server(config, grpc, connections, settings.drain_seconds, http_option, greeting)


def greeting_of_gateway(url: str, grpc: str) -> str:
    """What a gateway says once it listens, with a worker of its own or without."""
    return f"on {url}  (open it in a browser to try it; every route: {url}/docs), gRPC on {grpc}"
