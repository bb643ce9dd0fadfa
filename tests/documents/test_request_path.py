"""The tables of the architecture name the modules that a request and a video frame pass, and no other.

How they are counted: `sys.setprofile` on all threads of a gateway and of a worker with `tiny`, joined by gRPC. A new
picture is sent with words that are known; every module of the packages of which a function is called meanwhile counts,
but for what runs on a clock and not for the request: the search for workers, and looks at their state and at files of
models. The supervisor is another process.
"""

import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType

import grpc
import httpx
from fastapi import FastAPI

import lexiseg_labels
import lexiseg_model
import lexiseg_service
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.fleet.remote import RemoteBackend
from lexiseg_service.gateway.adapter import install
from lexiseg_service.gateway.app import create_app
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.grpc_server import worker_server
from lexiseg_service.worker.worker import ModelWorker
from loadtests.ports import free_port
from tests import pictures
from tests.documents.reading import ROOT
from tests.waiting import soon

PACKAGES = {"S": "lexiseg_service", "M": "lexiseg_model", "L": "lexiseg_labels"}
# Where calls on a clock begin, on any thread.
ON_A_CLOCK = {"for_ever", "_look_up", "_watch_forever", "WatchStatus", "_forever"}
BESIDE = {"lexiseg_service/image/url_fetch.py"}  # which resolves the workers' names in threads of its own
ROOTS = tuple(f"{Path(package.__path__[0]).parent}/" for package in (lexiseg_labels, lexiseg_model, lexiseg_service))
# Runs only where a worker has died of a picture.
ELSEWHERE = {"lexiseg_service/worker/crash_record.py"}
# Of a request alone, as the page says, or of followed objects alone.
NOT_OF_THIS_FRAME = {"lexiseg_model/video/following.py", "lexiseg_service/worker/feature_cache.py"}
MAX_MODULES = 45
MAX_LINES = 8_500  # of their code
MAX_MODULES_OF_A_FRAME = 41
SOON = 30.0


def named_modules() -> tuple[set[str], set[str]]:
    """The modules in the tables of a request and of a frame; a bare name lies beside the module before it."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    steps, _, frame = text.partition("## A request's life")[2].partition("## Caches")[0].partition("## A video frame")
    of_request = modules_in(row for row in steps.splitlines() if row.startswith("|"))
    from_decode = modules_in(row for row in steps.splitlines() if row.startswith(("| 6", "| 7", "| 8")))
    return of_request, from_decode | modules_in(row for row in frame.splitlines() if row.startswith("|"))


def modules_in(rows: Iterator[str]) -> set[str]:
    named, folder = set(), Path()
    for name in re.findall(r"`([\w/]+\.py)`", "\n".join(rows)):
        package, _, rest = name.partition("/")
        path = Path(PACKAGES[package], rest) if package in PACKAGES else folder / name
        folder = path.parent if package in PACKAGES else folder
        named.add(path.as_posix())
    return named


def lines_of(module: str) -> int:
    root = next(root for root in ROOTS if Path(root, module).exists())
    return len(Path(root, module).read_text(encoding="utf-8").splitlines())


@contextmanager
def recorded(passed: set[str]) -> Iterator[None]:
    """Add the modules of the packages that run to `passed`, on this thread and on those that start meanwhile."""

    def record(frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        root = next(filter(path.startswith, ROOTS), None) if event == "call" else None
        if root is not None and ON_A_CLOCK.isdisjoint(callers(frame)):
            passed.add(path.removeprefix(root))

    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def callers(frame: FrameType | None) -> Iterator[str]:
    """The names of a function and of those that called it."""
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back


@asynccontextmanager
async def gateway_over_worker() -> AsyncIterator[FastAPI]:
    """A gateway that asks a worker of `tiny` over gRPC, with the adapters that `lexiseg serve` has on."""
    settings = Settings(model="tiny", worker_port=free_port(), grpc_port=0, drain_seconds=1)
    worker = ModelWorker(settings, Metrics())
    gateway = RemoteBackend(Settings(workers=(f"127.0.0.1:{settings.worker_port}",)), Metrics())
    async with AsyncExitStack() as stack:
        await worker.start()
        stack.push_async_callback(worker.close)
        server = worker_server(worker, settings, Metrics())
        await server.start()
        stack.push_async_callback(server.close)
        await gateway.start()
        stack.push_async_callback(gateway.close)
        await soon(lambda: gateway.health().ready, SOON)
        app = create_app(settings, gateway, Metrics())
        install(app, settings.adapters)
        yield app


async def test_the_table_names_the_modules_that_a_request_passes() -> None:
    passed, ever = set[str](), set[str]()
    with recorded(passed):
        async with gateway_over_worker() as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                for image in images():  # the second request builds nothing any more
                    passed.clear()
                    files = {"image": ("a.jpg", image)}
                    answer = await client.post("/segment", files=files, data={"classes": ["sky", "building", "flower"]})
                    ever |= passed
                of_request = passed - BESIDE

    assert answer.status_code == 200
    assert answer.json()["segments"]
    assert of_request - named_modules()[0] == set()
    assert named_modules()[0] - ever <= ELSEWHERE
    assert len(of_request) <= MAX_MODULES
    assert sum(map(lines_of, of_request)) <= MAX_LINES


async def test_the_tables_name_the_modules_that_a_frame_passes() -> None:
    passed, ever = set[str](), set[str]()
    with recorded(passed):
        async with gateway_over_worker() as app:
            await app.state.grpc.start()
            address = f"127.0.0.1:{app.state.grpc.port}"
            async with grpc.aio.insecure_channel(address) as channel:
                call = SegmentationStub(channel).SegmentVideo()
                classes = [pb.Class(name=name) for name in ("sky", "building", "flower")]
                config = pb.StreamConfig(classes=classes, smoothing=0.5, tracking=True)
                await call.write(pb.SegmentVideoRequest(config=config))
                for number, image in enumerate(images()):
                    passed.clear()
                    await call.write(pb.SegmentVideoRequest(frame=pb.Frame(id=str(number), image=image)))
                    answer = await call.read()
                    ever |= passed
                of_frame = passed - BESIDE
                call.cancel()
            await app.state.grpc.close()

    assert isinstance(answer, pb.SegmentVideoResponse)
    assert answer.HasField("answer")
    assert of_frame - named_modules()[1] == set()
    assert named_modules()[1] - ever <= ELSEWHERE | NOT_OF_THIS_FRAME
    assert len(of_frame) <= MAX_MODULES_OF_A_FRAME


def images() -> list[bytes]:
    return [pictures.encoded(pictures.small(name), "JPEG") for name in ("china", "flower")]
