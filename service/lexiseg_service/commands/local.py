"""The server that a command asks: a running one, or one in this process over Unix sockets."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import httpx
import structlog

from lexiseg_client.rpc.connections import OPTIONS
from lexiseg_model.model_name import ModelName
from lexiseg_model.types import Task
from lexiseg_service.commands.server import Server
from lexiseg_service.commands.serving import hosting
from lexiseg_service.errors import NotReady
from lexiseg_service.in_process import check_model
from lexiseg_service.question.backend import until_ready
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.server import UNIX

DAY = 86_400.0  # seconds; no other client waits for the model
# No access control, as nobody else can connect; requests in flight at the end are dropped.
WITHOUT_ADMISSION = dict.fromkeys(("api_keys", "api_keys_file", "rate_limit", "concurrency_limit")) | {
    "drain_seconds": 0.0
}


@contextmanager
def open_server(url: str | None, settings: Settings, task: Task) -> Iterator[Server]:
    """The server at an address, not asked yet, or one in this process with a model that can do the task."""
    if url is not None:
        with Server(url, settings, model=settings.default_model) as connection:
            yield connection
        return
    check_model(settings, task)
    with _local_server(settings) as connection:
        yield connection


@contextmanager
def _local_server(settings: Settings) -> Iterator[Server]:
    """A server with the model of the settings, once it is warmed up, while the block runs."""
    model = settings.first_model
    deadline = {} if "deadline_seconds" in settings.model_fields_set else {"deadline_seconds": DAY}
    with _errors_logged(), TemporaryDirectory(prefix="lexiseg-") as folder:
        from lexiseg_service.gateway.app import create_app
        from lexiseg_service.worker.worker import ModelWorker  # imports torch: after all checks

        http, rpc = Path(folder) / "http", f"{UNIX}{folder}/grpc"
        own = settings.model_copy(update={"model": model, "host": rpc, **WITHOUT_ADMISSION, **deadline})
        metrics = Metrics()
        worker = ModelWorker(own, metrics, resident=False)
        app = create_app(own, worker, metrics)
        hosted = hosting.Server(app, app.state.grpc, own, 0, socket=http)
        hosted.linger = 0.0
        thread = threading.Thread(target=hosted.run, name="server", daemon=True)
        thread.start()

        def is_up() -> bool:
            if not thread.is_alive():
                raise NotReady("the server of this process has ended")
            return hosted.started

        try:
            asyncio.run(until_ready(worker, is_up))
            card = worker.cards()[0]
            name = f"{ModelName.from_card(card)} {worker.digest(card.name)}"
            with (
                httpx.Client(transport=httpx.HTTPTransport(uds=str(http))) as connections,
                grpc.insecure_channel(rpc, OPTIONS) as channel,
            ):
                yield Server("http://localhost", own, name=name, timeout=DAY, http=connections, channel=channel)
        finally:
            hosted.should_exit = True
            thread.join()


@contextmanager
def _errors_logged() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
