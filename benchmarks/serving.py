"""CPU time by stage, then HTTP throughput at 1, 8 and 32 clients: beside the bare image pass, then other servers.

Those are FastAPI, LitServe, Mosec and Ray Serve. All servers run the same model and runtime (LEXISEG_RUNTIME), give
equal answers, and are measured alternately. Idle servers take CPU too, so the bare pass is compared without them. The
clients share the cores but use little CPU.
"""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from itertools import count
from statistics import median
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import torch
from PIL import Image
from pycocotools import mask as coco

from benchmarks.calls import stages
from benchmarks.calls.servers import LEXISEG, PEERS, cpu_seconds, gateway_seconds, running_server
from benchmarks.timing import cost, median_and_range, print_table, synchronised
from lexiseg_model.resources.device import choose_device
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.settings import Settings
from loadtests.peers.model import load as load_model
from loadtests.plain_client import Connection, WithSerial, posted_form

CLASSES = stages.WORDS
# Threshold 0: the other servers do not apply the threshold of the model's card.
QUESTION = {"classes": CLASSES, "threshold": "0"}
CLIENTS = (1, 8, 32)
BATCHES = (1, 4, 8)  # of the bare loop
ROUNDS = 3
SERIAL = b"(serial)"  # placeholder for an image's serial number
SECONDS = 4.0  # per server, number of clients and round
MIN_EQUAL = 0.9999  # share of equal pixels; batching changes the order of rounding


def image_seconds(url: str) -> float | None:
    """Total seconds of image passes so far, from a server's metrics; None if it has none."""
    match = re.search(r'lexiseg_stage_seconds_sum\{stage="image"\} (\S+)', httpx.get(f"{url}/metrics").text)
    return float(match[1]) if match else None


class Served(NamedTuple):
    """Throughput, latency and CPU use of a server under load."""

    images_per_second: float
    median_ms: float
    cpu_ms: float  # of the server's processes per image
    gateway_ms: float  # of these the ones with HTTP connections
    passes: float | None  # image passes under way, on average; None if the server has no metrics


def photograph() -> bytes:
    """A 640 x 480 JPEG."""
    return stages.jpeg(stages.SIZES["640 x 480"])


def unique_images(image: bytes) -> Iterator[bytes]:
    """JPEGs that differ only in bytes after their end: new to every cache, equal work to decode."""
    return (image + serial.to_bytes(8, "little") for serial in count())


def class_map(url: str) -> Any:
    """The class index of each pixel [480, 640] in a server's answer, -1 = none."""
    response = httpx.post(f"{url}/segment", files={"image": photograph()}, data=QUESTION, timeout=120)
    return owners_of(response.raise_for_status().json()["segments"])


def owners_of(segments: list[dict[str, Any]]) -> Any:
    """The class index of each pixel [480, 640] from an answer's segments, -1 = none."""
    owners = np.full((480, 640), -1)
    for segment in segments:
        counts = segment["counts"] if "counts" in segment else segment["mask"]["counts"]
        mask = coco.decode({"size": [480, 640], "counts": counts.encode()}).astype(bool)
        owners[mask] = CLASSES.index(segment["label"])
    return owners


async def load(url: str, process: psutil.Process, clients: int, seconds: float = SECONDS) -> Served:
    """Closed-loop load: each client sends its next request when the last one is answered."""
    # Bytes after the end of the JPEG make every image new to all caches.
    request = posted_form(photograph() + SERIAL, QUESTION, encoding="gzip, deflate")
    requests = iter(WithSerial((request, SERIAL)))
    times: list[float] = []

    async def one_client(connection: Connection, deadline: float) -> None:
        while time.monotonic() < deadline:
            answer = await connection.ask(next(requests))
            assert answer.status == 200, f"{url} answered {answer.status}"
            times.append(answer.seconds)

    async with AsyncExitStack() as open_connections:
        connections = [await open_connections.enter_async_context(Connection(url)) for _ in range(clients)]
        await one_client(connections[0], time.monotonic() + 0.5)
        times.clear()
        seconds_before = image_seconds(url)
        cpu_before, gateway_before, start = cpu_seconds(process), gateway_seconds(process), time.monotonic()
        await asyncio.gather(*(one_client(connection, start + seconds) for connection in connections))
        elapsed, cpu = time.monotonic() - start, cpu_seconds(process) - cpu_before
        gateway = gateway_seconds(process) - gateway_before
        seconds_after = image_seconds(url)
        passes = None
        if seconds_before is not None and seconds_after is not None:
            passes = (seconds_after - seconds_before) / elapsed
    cpu_ms, gateway_ms = 1e3 * cpu / len(times), 1e3 * gateway / len(times)
    return Served(len(times) / elapsed, 1e3 * float(np.median(times)), cpu_ms, gateway_ms, passes)


def bare_forward(segmenter: Segmenter, device: torch.device, batches: Sequence[int] = BATCHES) -> tuple[float, float]:
    """The image pass alone, at its best batch size: images per second, CPU milliseconds per image."""
    tiles = segmenter.plan(np.asarray(Image.open(io.BytesIO(photograph())))).tiles
    best_wall = best_cpu = float("inf")
    for batch in batches:
        elapsed = cost(synchronised(partial(segmenter.encode_tiles, np.repeat(tiles, batch, 0)), device))
        if elapsed.wall / batch < best_wall:
            best_wall, best_cpu = elapsed.wall / batch, elapsed.cpu / batch
    return 1 / best_wall, 1e3 * best_cpu


def beside_bare() -> None:
    """Print lexiseg's throughput over the bare image pass's, in turns, with no other server in memory."""
    bare: list[tuple[float, float]] = []
    rounds: dict[int, list[Served]] = {clients: [] for clients in CLIENTS}
    with running_server(LEXISEG) as (url, process):
        class_map(url)
        for _ in range(ROUNDS):
            bare.append(bare_forward(load_model(), choose_device(Settings().device)))
            for clients, results in rounds.items():
                results.append(asyncio.run(load(url, process, clients)))
    rows = [["bare image pass", "-", median_and_range([rate for rate, _ in bare], 1), "1.00"]]
    rows[0] += [f"{median(cpu for _, cpu in bare):.1f}", "-"]
    for clients, results in rounds.items():
        rates = [served.images_per_second for served in results]
        ratios = [rate / bare_rate for rate, (bare_rate, _) in zip(rates, bare, strict=True)]
        row = ["lexiseg", str(clients), median_and_range(rates, 1), median_and_range(ratios, 2)]
        row.append(f"{median(served.cpu_ms for served in results):.1f}")
        rows.append([*row, f"{median(served.gateway_ms for served in results):.1f}"])
    head = ["", "clients", "images/s", "of the bare pass", "CPU ms per image", "of it the gateway"]
    print_table(f"640 x 480 JPEG, {len(CLASSES)} classes, no other server", head, rows)


def beside_peers() -> None:
    """Check that all servers give equal answers, then print their throughput, measured in turns."""
    rounds: dict[tuple[str, int], list[Served]] = {}
    with ExitStack() as stack:
        servers = {"lexiseg": stack.enter_context(running_server(LEXISEG))}
        for name, peer in PEERS.items():
            if peer.installed:
                servers[name] = stack.enter_context(running_server(peer))
            else:
                print(f"{name} is skipped: no {peer.command[0]}; `make peers` installs it")
        expected = class_map(servers["lexiseg"][0])
        for name, (url, _) in servers.items():
            equal = float((class_map(url) == expected).mean())
            assert equal >= MIN_EQUAL, f"{name}: only {100 * equal:.2f} % of the pixels equal lexiseg's"
            print(f"{name}: {100 * equal:.3f} % of the pixels equal lexiseg's")
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                for name, (url, process) in servers.items():
                    served = asyncio.run(load(url, process, clients))
                    rounds.setdefault((name, clients), []).append(served)
    rows = []
    for (name, clients), results in rounds.items():
        rates = [served.images_per_second for served in results]
        lexiseg_rates = [served.images_per_second for served in rounds["lexiseg", clients]]
        passes = [served.passes for served in results if served.passes is not None]
        rows.append(
            [
                name,
                str(clients),
                median_and_range(rates, 1),
                "-" if name == "lexiseg" else median_and_range(np.divide(lexiseg_rates, rates).tolist(), 2),
                f"{median(served.median_ms for served in results):.0f}",
                f"{median(served.cpu_ms for served in results):.0f}",
                f"{median(passes):.1f}" if passes else "-",
            ]
        )
    head = ["server", "clients", "images/s", "lexiseg / server", "median ms", "server CPU ms per image"]
    print_table("The same beside other servers", [*head, "image passes under way"], rows)


def run() -> None:
    """Print the tables: stages, beside the bare pass, beside other servers."""
    stages.run()
    beside_bare()
    beside_peers()
