"""Images per second over HTTP at 1, 8 and 32 clients: lexiseg, a plain FastAPI server, the same model behind LitServe,
Mosec and Ray Serve, and the bare forward loop. All servers are up at once and measured alternately; their answers are
compared before. All of them take the runtime that LEXISEG_RUNTIME names. The clients, on the same cores, take next to
nothing of them.
"""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import torch
from PIL import Image
from pycocotools import mask as coco
from sklearn.datasets import load_sample_images

from benchmarks.calls.servers import LEXISEG, PEERS, cpu_seconds, serving
from benchmarks.clock import cost, print_table, spread, until_done
from lexiseg_model.device import choose_device
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.settings import Settings
from loadtests.peers.model import load as load_model
from loadtests.plain_client import Anew, Connection, posted_form

CLASSES = (
    *("sky", "building", "tree", "road", "car", "person", "grass", "water", "mountain", "boat"),
    *("dog", "cat", "chair", "table", "window", "door", "fence", "wall", "floor", "sign"),
)
# Every segment is wanted: peers know no threshold of the card's, below which lexiseg drops segments.
QUESTION = {"classes": CLASSES, "threshold": "0"}
CLIENTS = (1, 8, 32)
BATCHES = (1, 4, 8)  # of the bare loop
ROUNDS = 3
SERIAL = b"(serial)"  # in the place of an image's number
SECONDS = 4.0  # of each server, with each number of clients, in each round
MIN_EQUAL = 0.9999  # of the pixels: sums of a batch may be rounded in another order


def image_seconds(url: str) -> float | None:
    """Seconds spent in image passes so far, from the metrics; None from a server without them."""
    match = re.search(r'lexiseg_stage_seconds_sum\{stage="image"\} (\S+)', httpx.get(f"{url}/metrics").text)
    return float(match[1]) if match else None


class Served(NamedTuple):
    """What a server did under load."""

    images_per_second: float
    median_ms: float
    cpu_ms: float  # of the server's processes for each image
    busy: float | None  # share of the time that cores computed image passes, where the server tells


def photograph() -> bytes:
    """A 640 x 480 JPEG."""
    picture = Image.fromarray(load_sample_images().images[0]).resize((640, 480))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def class_map(url: str) -> Any:
    """[480, 640] of a server's answer: which class owns a pixel, -1 where none does."""
    response = httpx.post(f"{url}/segment", files={"image": photograph()}, data=QUESTION, timeout=120)
    return owners_of(response.raise_for_status().json()["segments"])


def owners_of(segments: list[dict[str, Any]]) -> Any:
    """[480, 640] of an answer's segments: which class owns a pixel, -1 where none does."""
    owners = np.full((480, 640), -1)
    for segment in segments:
        counts = segment["counts"] if "counts" in segment else segment["mask"]["counts"]
        mask = coco.decode({"size": [480, 640], "counts": counts.encode()}).astype(bool)
        owners[mask] = CLASSES.index(segment["label"])
    return owners


async def load(url: str, process: psutil.Process, clients: int, seconds: float = SECONDS) -> Served:
    """A closed loop: each client sends its next request when the last is answered."""
    # A few bytes behind the end of the JPEG: another image to every cache, the same work to decode.
    request = posted_form(photograph() + SERIAL, QUESTION, encoding="gzip, deflate")
    requests = iter(Anew((request, SERIAL)))
    times: list[float] = []

    async def one_client(connection: Connection, until: float) -> None:
        while time.monotonic() < until:
            answer = await connection.ask(next(requests))
            assert answer.status == 200, f"{url} answered {answer.status}"
            times.append(answer.seconds)

    async with AsyncExitStack() as open_connections:
        connections = [await open_connections.enter_async_context(Connection(url)) for _ in range(clients)]
        await one_client(connections[0], time.monotonic() + 0.5)
        times.clear()
        passes = image_seconds(url)
        before, began = cpu_seconds(process), time.monotonic()
        await asyncio.gather(*(one_client(connection, began + seconds) for connection in connections))
        elapsed, cpu = time.monotonic() - began, cpu_seconds(process) - before
        after = image_seconds(url)
        busy = None if passes is None or after is None else (after - passes) / elapsed
    return Served(len(times) / elapsed, 1e3 * float(np.median(times)), 1e3 * cpu / len(times), busy)


def bare_forward(segmenter: Segmenter, device: torch.device, batches: Sequence[int] = BATCHES) -> tuple[float, float]:
    """Best images per second over batch sizes of the image pass alone, and its CPU milliseconds for one image."""
    tiles = segmenter.plan(np.asarray(Image.open(io.BytesIO(photograph())))).tiles
    best_wall = best_cpu = float("inf")
    for batch in batches:
        spent = cost(until_done(partial(segmenter.encode_tiles, np.repeat(tiles, batch, 0)), device))
        if spent.wall / batch < best_wall:
            best_wall, best_cpu = spent.wall / batch, spent.cpu / batch
    return 1 / best_wall, 1e3 * best_cpu


def run() -> None:
    """One table; the clients share the machine with the servers."""
    rounds: dict[tuple[str, int], list[Served]] = {}
    bare: list[tuple[float, float]] = []
    with ExitStack() as up:
        servers = {"lexiseg": up.enter_context(serving(LEXISEG))}
        for name, peer in PEERS.items():
            if peer.installed:
                servers[name] = up.enter_context(serving(peer))
            else:
                print(f"{name} is left out: no {peer.command[0]}; `make peers` sets it up")
        expected = class_map(servers["lexiseg"][0])
        for name, (url, _) in servers.items():
            equal = float((class_map(url) == expected).mean())
            assert equal >= MIN_EQUAL, f"{name} answers otherwise: {100 * equal:.2f} % of the pixels are equal"
            print(f"{name} answers: {100 * equal:.3f} % of the pixels are lexiseg's")
        for _ in range(ROUNDS):
            bare.append(bare_forward(load_model(), choose_device(Settings().device)))
            for clients in CLIENTS:
                for name, (url, process) in servers.items():
                    served = asyncio.run(load(url, process, clients))
                    rounds.setdefault((name, clients), []).append(served)
    rows = [["bare forward loop", "-", spread([each[0] for each in bare], 1), "1.00", "-", "-"]]
    rows[0] += [f"{median(each[1] for each in bare):.0f}", "-"]
    for (name, clients), of_rounds in rounds.items():
        pace = [served.images_per_second for served in of_rounds]
        ours = [served.images_per_second for served in rounds["lexiseg", clients]]
        busy = [served.busy for served in of_rounds if served.busy is not None]
        rows.append(
            [
                name,
                str(clients),
                spread(pace, 1),
                f"{median(one / loop[0] for one, loop in zip(pace, bare, strict=True)):.2f}",
                "-" if name == "lexiseg" else spread([our / one for our, one in zip(ours, pace, strict=True)], 2),
                f"{median(served.median_ms for served in of_rounds):.0f}",
                f"{median(served.cpu_ms for served in of_rounds):.0f}",
                f"{100 * median(busy):.0f} %" if busy else "-",
            ]
        )
    head = ["server", "clients", "images/s", "of the bare loop", "lexiseg against it", "median ms"]
    head += ["server CPU ms per image", "compute busy"]
    print_table(f"640 x 480 JPEG, {len(CLASSES)} classes, warm texts", head, rows)
