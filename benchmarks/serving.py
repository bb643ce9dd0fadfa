"""Images per second over HTTP at 1, 8 and 32 clients: lexiseg, a plain FastAPI server, and the bare forward loop."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.clock import cost, print_table
from lexiseg_model import catalog

CLASSES = (
    *("sky", "building", "tree", "road", "car", "person", "grass", "water", "mountain", "boat"),
    *("dog", "cat", "chair", "table", "window", "door", "fence", "wall", "floor", "sign"),
)
CLIENTS = (1, 8, 32)
SECONDS = 12.0
START_SECONDS = 60.0
PEERS_PYTHON = f"{sys.prefix}-peers/bin/python"  # made by `make peers`
SERVERS = {
    "lexiseg": [
        sys.executable,
        "-m",
        "lexiseg_service.cli",
        "serve",
        "--http-port",
        "0",
        "--grpc-port",
        "0",
        "--log-level",
        "warning",
    ],
    "plain FastAPI": [sys.executable, "-m", "loadtests.peers.plain_fastapi"],
    "LitServe": [PEERS_PYTHON, "-m", "loadtests.peers.litserve_server"],
}


def is_ready(url: str) -> bool:
    """Whether a server answers; one that does not listen yet is not ready."""
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def image_seconds(url: str) -> float | None:
    """Seconds spent in image passes so far, from the metrics; None from a server without them."""
    match = re.search(r'lexiseg_stage_seconds_sum\{stage="image"\} (\S+)', httpx.get(f"{url}/metrics").text)
    return float(match[1]) if match else None


def cpu_seconds(process: psutil.Process) -> float:
    """Of a server and the processes it has started."""
    return sum(sum(member.cpu_times()[:2]) for member in (process, *process.children(recursive=True)))


class Served(NamedTuple):
    """What a server did under load."""

    images_per_second: float
    median_ms: float
    cpu_ms: float  # of the server's processes for each image
    busy: float | None  # share of the time that the compute thread computed, where the server tells


def photograph() -> bytes:
    """A 640 x 480 JPEG."""
    picture = Image.fromarray(load_sample_images().images[0]).resize((640, 480))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@contextmanager
def serving(command: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Starts a server that prints its address first; ends it by its own pid."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert address, f"{command} did not print its address"
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(address[0]):
            assert time.monotonic() < deadline, f"{command} did not become ready"
            time.sleep(0.1)
        yield address[0], psutil.Process(process.pid)
    finally:
        # LitServe's workers are processes of their own, children of the one that was started.
        leader = psutil.Process(process.pid)
        for member in (*leader.children(recursive=True), leader):
            member.terminate()
        process.wait(30)


async def load(url: str, process: psutil.Process, clients: int) -> Served:
    """A closed loop: each client sends its next request when the last is answered."""
    image = photograph()
    serial = count()
    times: list[float] = []

    async def one_client(session: httpx.AsyncClient, until: float) -> None:
        while time.monotonic() < until:
            # A few bytes behind the end of the JPEG: another image to every cache, the same work to decode.
            fresh = image + next(serial).to_bytes(8, "little")
            began = time.monotonic()
            response = await session.post("/segment", files={"image": fresh}, data={"classes": CLASSES})
            response.raise_for_status()
            times.append(time.monotonic() - began)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as session:
        await one_client(session, time.monotonic() + 1)
        times.clear()
        passes = image_seconds(url)
        before, began = cpu_seconds(process), time.monotonic()
        await asyncio.gather(*(one_client(session, began + SECONDS) for _ in range(clients)))
        elapsed, cpu = time.monotonic() - began, cpu_seconds(process) - before
        after = image_seconds(url)
        busy = None if passes is None or after is None else (after - passes) / elapsed
    return Served(len(times) / elapsed, 1e3 * float(np.median(times)), 1e3 * cpu / len(times), busy)


def bare_forward() -> tuple[float, float]:
    """Best images per second over batch sizes of the image pass alone, and its CPU milliseconds for one image."""
    segmenter = catalog.load("tiny")
    tiles = segmenter.plan(np.asarray(Image.open(io.BytesIO(photograph())))).tiles
    best_wall = best_cpu = float("inf")
    for batch in (1, 4, 8):
        spent = cost(partial(segmenter.encode_tiles, np.repeat(tiles, batch, 0)))
        if spent.wall / batch < best_wall:
            best_wall, best_cpu = spent.wall / batch, spent.cpu / batch
    return 1 / best_wall, 1e3 * best_cpu


def run() -> None:
    """One table; the clients share the machine with the server."""
    bare, bare_cpu = bare_forward()
    rows = [["bare forward loop", "-", f"{bare:.1f}", "1.00", "-", f"{bare_cpu:.0f}", "-"]]
    for name, command in SERVERS.items():
        if not Path(command[0]).exists():
            print(f"{name} is left out: no {command[0]}; `make peers` sets it up")
            continue
        with serving(command) as (url, process):
            for clients in CLIENTS:
                served = asyncio.run(load(url, process, clients))
                share = served.images_per_second / bare
                rows.append(
                    [
                        name,
                        str(clients),
                        f"{served.images_per_second:.1f}",
                        f"{share:.2f}",
                        f"{served.median_ms:.0f}",
                        f"{served.cpu_ms:.0f}",
                        "-" if served.busy is None else f"{100 * served.busy:.0f} %",
                    ]
                )
    head = ["server", "clients", "images/s", "of the bare loop", "median ms", "server CPU ms per image", "compute busy"]
    print_table(f"640 x 480 JPEG, {len(CLASSES)} classes, warm texts", head, rows)
