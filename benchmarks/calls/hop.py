"""What the hop costs: CPU of a gateway and a worker apart against both in one process, asked the same in turns."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from statistics import median
from typing import NamedTuple

import grpc
import httpx
import psutil

from benchmarks.calls.servers import START_SECONDS, cpu_seconds, is_ready
from benchmarks.clock import print_table
from benchmarks.serving import CLASSES, photograph
from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationStub

ROUNDS = 7  # of each: one process, then two
BLOCK = 40  # requests of a round
LEXISEG = (sys.executable, "-m", "lexiseg_service.cli")
QUIET = ("--log-level", "warning")


class Front(NamedTuple):
    """Who is asked, and the processes behind it."""

    url: str
    grpc: str
    processes: tuple[psutil.Process, ...]

    def cpu(self) -> list[float]:
        """Seconds of each process."""
        return [cpu_seconds(process) for process in self.processes]


@contextmanager
def started(*command: str) -> Iterator[tuple[list[int], psutil.Process]]:
    """A lexiseg command, and the ports that it names; ended by its own pid."""
    process = subprocess.Popen([*LEXISEG, *command, *QUIET], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield [int(port) for port in re.findall(r"localhost:(\d+)", line)], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def fronts() -> Iterator[dict[str, Front]]:
    """The same model behind one process, and behind two."""
    with (
        started("serve", "--http-port", "0", "--grpc-port", "0") as (one, alone),
        started("worker", "--worker-port", "0", "--metrics-port", "0") as (inner, worker),
        started("gateway", "--workers", f"127.0.0.1:{inner[0]}", "--http-port", "0", "--grpc-port", "0") as (
            two,
            gateway,
        ),
    ):
        both = {
            "one process": Front(f"http://127.0.0.1:{one[0]}", f"127.0.0.1:{one[-1]}", (alone,)),
            "apart": Front(f"http://127.0.0.1:{two[0]}", f"127.0.0.1:{two[-1]}", (gateway, worker)),
        }
        deadline = time.monotonic() + START_SECONDS
        while not all(is_ready(f"{front.url}/readyz") for front in both.values()):
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.1)
        yield both


def over_rest(front: Front) -> Callable[[bytes], None]:
    """Asks by multipart/form-data on one connection."""
    client = httpx.Client(base_url=front.url, timeout=60)

    def ask(image: bytes) -> None:
        client.post("/segment", files={"image": image}, data={"classes": CLASSES}).raise_for_status()

    return ask


def over_grpc(front: Front) -> Callable[[bytes], None]:
    """Asks by the unary method on one connection."""
    stub = SegmentationStub(grpc.insecure_channel(front.grpc))
    classes = [pb.Class(name=name) for name in CLASSES]

    def ask(image: bytes) -> None:
        stub.Segment(pb.SegmentRequest(image=pb.Image(content=image), classes=classes))

    return ask


def block(front: Front, ask: Callable[[bytes], None], images: Iterator[bytes]) -> list[float]:
    """CPU milliseconds of each process for one request, over a block of them."""
    before = front.cpu()
    for _ in range(BLOCK):
        ask(next(images))
    return [1e3 * (after - at_first) / BLOCK for after, at_first in zip(front.cpu(), before, strict=True)]


def same_image() -> Iterator[bytes]:
    """Its features are kept: what remains is the vocabulary's part and the way there and back."""
    image = photograph()
    while True:
        yield image


def new_images() -> Iterator[bytes]:
    """A few bytes behind the end of the JPEG: another image to every cache, the same work to decode."""
    image = photograph()
    for serial in count():
        yield image + serial.to_bytes(8, "little")


def run() -> None:
    """One table; a row for each kind of question and protocol."""
    rows = []
    with fronts() as pair:
        one, apart = pair["one process"], pair["apart"]
        for protocol, way in (("REST", over_rest), ("gRPC", over_grpc)):
            for kind, images in (("new image", new_images()), ("known image", same_image())):
                asking = {front: way(front) for front in (one, apart)}
                for front, ask in asking.items():
                    block(front, ask, images)  # warm
                alone, gateways, workers, ratios = [], [], [], []
                for _ in range(ROUNDS):
                    (together,) = block(one, asking[one], images)
                    gateway, worker = block(apart, asking[apart], images)
                    alone.append(together)
                    gateways.append(gateway)
                    workers.append(worker)
                    ratios.append((gateway + worker) / together)
                hop = median(g + w - a for g, w, a in zip(gateways, workers, alone, strict=True))
                figures = (median(alone), median(gateways), median(workers), hop)
                rows.append([protocol, kind, *(f"{figure:.1f}" for figure in figures), f"{median(ratios):.2f}"])
    head = ["protocol", "question", "one process, ms", "gateway, ms", "worker, ms", "the hop, ms", "ratio"]
    print_table("CPU of one request, 640 x 480 JPEG, 20 classes, RLE: one process against two", head, rows)
