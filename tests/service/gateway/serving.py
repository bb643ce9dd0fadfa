"""The real application with settings of a test's own, asked without a socket or on real ports."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import httpx
from sse_starlette.sse import AppStatus

from lexiseg_service.commands.serving.hosting import Server
from lexiseg_service.gateway.adapter import install
from lexiseg_service.gateway.admission.key_file import line_of
from lexiseg_service.gateway.admission.limits import ClientLimits
from lexiseg_service.gateway.app import create_app
from lexiseg_service.image.url_fetch import UrlFetcher
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.waiting import until

ANN, BOB, EVE = ({"X-API-Key": name} for name in ("ann", "bob", "eve"))
KEYS = "\n".join(line_of(name, name) for name in ("ann", "bob", "eve"))
IMAGE: list[Any] = [("image", ("a.png", pictures.encoded(pictures.small())))]


@asynccontextmanager
async def serving(
    *,
    backend: Backend | None = None,
    metrics: Metrics | None = None,
    client_limits: ClientLimits | None = None,
    fetcher: UrlFetcher | None = None,
    tracing: Tracing | None = None,
    **settings: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway of its own."""
    chosen = Settings(**{"model": "colours", **settings})
    app = create_app(chosen, backend or KnownBackend(), metrics or Metrics(), client_limits, fetcher, tracing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


class Ports(NamedTuple):
    """Where a gateway listens: a URL, and HOST:PORT of gRPC."""

    url: str
    grpc: str


@contextmanager
def on_ports(backend: Backend, **settings: Any) -> Iterator[Ports]:
    """A gateway on free ports, on a thread and an event loop of its own."""
    values = {"model": "colours", "grpc_port": 0, "http_port": 0, "drain_seconds": 5, **settings}
    chosen = Settings.model_validate(values)
    app = create_app(chosen, backend, Metrics())
    install(app, chosen.adapters)
    server = Server(app, app.state.grpc, chosen, 0, "listens")
    server.linger = 0.0  # no test has requests on their way when it ends
    AppStatus.should_exit = False  # set for all servers of a process by one that a signal ended
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: not thread.is_alive() or (server.started and app.state.grpc.port))
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Ports(f"http://127.0.0.1:{port}", f"127.0.0.1:{app.state.grpc.port}")
    finally:
        server.should_exit = True
        thread.join()


def form(*classes: str, **fields: str) -> list[Any]:
    """Multipart parts of a question about a small image."""
    parts = [*IMAGE, *(("classes", (None, name)) for name in classes)]
    return parts + [(name, (None, value)) for name, value in fields.items()]
