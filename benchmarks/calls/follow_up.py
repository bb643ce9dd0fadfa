"""CPU time of `lexiseg serve` per kind of request over REST: first requests, follow-ups, a 16-megapixel photograph.

`AGAINST=FOLDER` compares with another checkout, measured alternately.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count, cycle
from statistics import median
from typing import NamedTuple

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.calls.servers import checkouts, running_server, server_of
from benchmarks.serving import CLASSES, photograph, unique_images
from benchmarks.timing import print_table

ROUNDS = 9
BLOCK = {"new": 8, "known": 40, "large": 2}  # requests per round, by cost
PHONE = (4624, 3468)  # width, height: 16 megapixels
NOISE = 6.0  # standard deviation in gray levels: gives a JPEG of realistic size
LIMIT = 250  # CPU ms for the phone photograph
MORE = ("house", "roof", "pagoda", "lake", "cloud", "bench", "bush", "flower", "temple", "path")
LISTS = 40  # other class lists: more than a worker's LRU cache holds

Ask = Callable[[], object]


def cpu_clock(pid: int) -> Callable[[], float]:
    """A nanosecond clock of the CPU time of a process and its children, ended threads included (Linux)."""
    processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    clocks = [~process << 3 | 2 for process in processes]  # clock ids as of clock_getcpuclockid(3)
    return lambda: sum(map(time.clock_gettime, clocks))


def phone_photograph() -> bytes:
    """A 16-megapixel JPEG as from a phone: with sensor noise and an EXIF orientation."""
    picture = np.asarray(Image.open(io.BytesIO(photograph())).resize(PHONE), np.float32)
    grain = np.random.default_rng(0).normal(0, NOISE, picture.shape[:2])[..., None]
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def requests_by_kind(client: httpx.Client, phone: bytes) -> dict[str, tuple[str, Ask]]:
    """Functions that send a request of each kind, by name, with its key in BLOCK."""
    images, phones = unique_images(photograph()), unique_images(phone)
    clicks = ({"points": [{"x": 20 + 37 * serial % 600, "y": 20 + 53 * serial % 440}]} for serial in count())

    def ask(image: bytes | str, question: dict[str, object]) -> str:
        if isinstance(image, str):
            response = client.post("/segment", json={"image": {"id": image}, **question})
        else:
            response = client.post("/segment", files={"image": image}, data={"request": json.dumps(question)})
        answer = response.raise_for_status().json()
        assert answer["cache"]["features"] == isinstance(image, str)
        return str(answer["image_id"])

    words: dict[str, object] = {"classes": CLASSES}
    rng = random.Random(0)
    lists: list[dict[str, object]] = [{"classes": rng.sample([*CLASSES, *MORE], len(CLASSES))} for _ in range(LISTS)]
    other_lists = cycle(lists)
    known = ask(next(images), {"prompts": [next(clicks)]})
    return {
        "first click": ("new", lambda: ask(next(images), {"prompts": [next(clicks)]})),
        "later click": ("known", lambda: ask(known, {"prompts": [next(clicks)]})),
        "16 clicks": ("large", lambda: ask(known, {"prompts": [next(clicks) for _ in range(16)]})),
        "first question": ("new", lambda: ask(next(images), words)),
        "the same words again": ("known", lambda: ask(known, words)),
        "other words": ("known", lambda: ask(known, next(other_lists))),
        "instances": ("known", lambda: ask(known, {**words, "task": "instance"})),
        "panoptic": ("known", lambda: ask(known, {**words, "task": "panoptic"})),
        "phone": ("large", lambda: ask(next(phones), words)),
    }


class Elapsed(NamedTuple):
    """Milliseconds per request in one round: mean CPU time, median wall time."""

    cpu: float
    wall: float


def measure_round(kind: str, ask: Ask, clock: Callable[[], float]) -> Elapsed:
    """Send the requests of one round, one after the other."""
    cpu_start, walls = clock(), []
    for _ in range(BLOCK[kind]):
        start = time.perf_counter()
        ask()
        walls.append(time.perf_counter() - start)
    return Elapsed(1e3 * (clock() - cpu_start) / BLOCK[kind], 1e3 * median(walls))


class MeasuredServer:
    """One server, and the times per kind of request in each round."""

    def __init__(self, url: str, pid: int, phone: bytes) -> None:
        self._requests = requests_by_kind(httpx.Client(base_url=url, timeout=120), phone)
        self._clock = cpu_clock(pid)
        self.rounds: list[dict[str, Elapsed]] = []
        self._round()  # warms up

    def _round(self) -> dict[str, Elapsed]:
        return {name: measure_round(*request, self._clock) for name, request in self._requests.items()}

    def measure(self) -> None:
        """Measure one round of every kind."""
        self.rounds.append(self._round())

    def median(self, name: str) -> Elapsed:
        """Medians over the rounds for one kind of request."""
        return Elapsed(*map(median, zip(*(times[name] for times in self.rounds), strict=True)))


def run() -> None:
    """Print follow-ups against first requests, the phone photograph, and with AGAINST both checkouts compared."""
    phone = phone_photograph()
    with ExitStack() as stack:
        servers = [stack.enter_context(running_server(server_of(checkout))) for checkout in checkouts()]
        services = [MeasuredServer(url, process.pid, phone) for url, process in servers]
        for number in range(ROUNDS):
            for service in services[:: 1 if number % 2 else -1]:
                service.measure()
    current = services[-1]

    def compared(first: str, later: str) -> list[str]:
        ratio = median(times[later].cpu / times[first].cpu for times in current.rounds)
        return [later, first, f"{current.median(first).cpu:.1f}", f"{current.median(later).cpu:.1f}", f"{ratio:.3f}"]

    rows = [
        compared("first click", "later click"),
        compared("first question", "later click"),
        compared("first question", "the same words again"),
        compared("first question", "other words"),
    ]
    head = ["follow-up", "first request", "first, CPU ms", "follow-up, CPU ms", "ratio"]
    print_table(f"`lexiseg serve` over REST, 640 x 480 JPEG, {len(CLASSES)} classes", head, rows)
    width, height = PHONE
    row = [f"{width} x {height}, {len(phone) / 1e6:.1f} MB", f"{current.median('phone').cpu:.0f}", str(LIMIT)]
    print_table("A phone's photograph", ["image", "CPU ms", "limit"], [row])
    if len(services) > 1:
        _compare(*services)


def _compare(baseline: MeasuredServer, current: MeasuredServer) -> None:
    rows = []
    for name in current.rounds[0]:
        pairs = [(first[name], last[name]) for first, last in zip(baseline.rounds, current.rounds, strict=True)]
        cpu = sorted(last.cpu / first.cpu for first, last in pairs)
        wall = sorted(last.wall / first.wall for first, last in pairs)
        old, new = baseline.median(name), current.median(name)
        rows.append(
            [
                name,
                *(f"{cpu_ms:.1f}" for cpu_ms in (old.cpu, new.cpu)),
                f"{median(cpu):.2f} ({cpu[0]:.2f}, {cpu[-1]:.2f})",
                *(f"{wall_ms:.1f}" for wall_ms in (old.wall, new.wall)),
                f"{median(wall):.2f} ({wall[0]:.2f}, {wall[-1]:.2f})",
            ]
        )
    head = [f"{clock} ms, {column}" for clock in ("CPU", "wall") for column in ("before", "now", "ratio (min, max)")]
    print_table("Each kind of request", ["request", *head], rows)
