"""The table of the architecture names every module that a request passes."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType

import httpx

import lexiseg_model
import lexiseg_service
from lexiseg_service.fleet.remote import RemoteBackend
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.grpc_server import worker_server
from loadtests.ports import free_port
from tests import pictures
from tests.documents.reading import ROOT
from tests.service.engine_backend import EngineBackend
from tests.waiting import soon

PACKAGES = {"S": "lexiseg_service", "M": "lexiseg_model"}
BESIDE = {"lexiseg_service/fleet/discovery.py", "lexiseg_service/image/url_fetch.py"}  # looks for workers all the time
ROOTS = tuple(f"{Path(package.__path__[0]).parent}/" for package in (lexiseg_model, lexiseg_service))
MAX_MODULES = 54
SOON = 30.0


def named_modules() -> set[str]:
    """The modules in the table of the eight steps; a bare name lies beside the module before it."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text[text.index("## A request's life") : text.index("## A video frame")]
    rows = "\n".join(line for line in table.splitlines() if line.startswith("|"))
    named, folder = set(), Path()
    for name in re.findall(r"`([\w/]+\.py)`", rows):
        package, _, rest = name.partition("/")
        path = Path(PACKAGES[package], rest) if package in PACKAGES else folder / name
        folder = path.parent if package in PACKAGES else folder
        named.add(path.as_posix())
    return named


@contextmanager
def recorded(passed: set[str]) -> Iterator[None]:
    """Add the modules of the packages that run to `passed`, on this thread and on those that start meanwhile."""

    def record(frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and (root := next(filter(path.startswith, ROOTS), None)):
            passed.add(path.removeprefix(root))

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def test_the_table_names_every_module_that_a_request_passes() -> None:
    images = [pictures.encoded(pictures.small(name), "JPEG") for name in ("china", "flower")]
    passed: set[str] = set()
    with recorded(passed):
        settings = Settings(model="colours", worker_port=free_port(), drain_seconds=1)
        worker = EngineBackend()
        gateway = RemoteBackend(Settings(workers=(f"127.0.0.1:{settings.worker_port}",)), Metrics())
        async with AsyncExitStack() as stack:
            stack.callback(worker.engine.close, 1)
            server = worker_server(worker, settings, Metrics())
            await server.start()
            stack.push_async_callback(server.close)
            await gateway.start()
            stack.push_async_callback(gateway.close)
            await soon(lambda: gateway.health().ready, SOON)
            app = create_app(settings, gateway, Metrics())
            transport = httpx.ASGITransport(app)
            client = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://localhost")
            )
            for image in images:  # the second request builds nothing any more
                passed.clear()
                files = {"image": ("a.jpg", image)}
                answer = await client.post("/segment", files=files, data={"classes": ["red", "green"]})
            of_request = passed - BESIDE

    assert answer.status_code == 200
    assert of_request - named_modules() == set()
    assert len(of_request) <= MAX_MODULES
