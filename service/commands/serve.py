"""`lexiseg serve`: the gateway and a worker in one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import typer
import uvicorn

from model import catalog
from service import logs
from service.gateway.app import create_app
from service.gateway.http_head import BoundedHeadProtocol
from service.metrics import Metrics
from service.settings import Settings
from service.tracing import open_tracing
from service.worker.local import LocalWorker


class Server(uvicorn.Server):
    """Says where it listens once it does; a stop that was asked for is a success."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            # Everything is answered and closed: uvicorn would now die of the signal once more.
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn's way to say so
            where = f"{self.config.host}:{self.config.port}"
            typer.echo(f"lexiseg: cannot listen on {where}; is it taken? Choose another with --http-port", err=True)
            raise
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0") else host
            typer.echo(
                f"lexiseg {version('lexiseg')} on http://{shown}:{port}  (try it by hand: http://{shown}:{port}/docs)"
            )


def run(settings: Settings) -> int:
    """Serves until SIGINT or SIGTERM; requests in flight are answered first. Returns the exit status.

    Raises:
        ModelError: the model is unknown or its card is damaged; said before anything listens.
    """
    catalog.find(settings.model, settings.models_dir)
    logs.configure(settings)
    metrics = Metrics()
    tracing = open_tracing(settings)
    failed = False

    def give_up() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    worker = LocalWorker(settings, metrics, give_up, tracing)
    server = Server(
        uvicorn.Config(
            create_app(settings, worker, metrics, tracing=tracing),
            host=settings.host,
            port=settings.http_port,
            http=BoundedHeadProtocol,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
        )
    )
    server.run()
    if tracing is not None:
        tracing.close()
    return 1 if failed else 0
