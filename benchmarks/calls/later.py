"""What follows a first call, over REST: CPU of the whole service for each kind of request; and a phone photograph.

With `AGAINST=FOLDER`, another checkout, both are measured alternately and compared.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count, cycle
from statistics import median
from typing import NamedTuple

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks.calls.servers import checkouts, of, serving
from benchmarks.clock import print_table
from benchmarks.serving import CLASSES, photograph

ROUNDS = 9  # of each kind, alternating
BLOCK = {"new": 8, "known": 40, "large": 2}  # requests of a round
PHONE = (4624, 3468)  # 16 megapixels, the longer side across
NOISE = 6.0  # grey levels of a sensor's grain: without it the file would be a third of a phone's
LIMIT = 250  # ms that a phone's photograph may take
MORE = ("house", "roof", "pagoda", "lake", "cloud", "bench", "bush", "flower", "temple", "path")
LISTS = 40  # of other words: more than a worker keeps of what it has made of them

Ask = Callable[[], object]


def cpu_clock(pid: int) -> Callable[[], float]:
    """CPU seconds of a process and its children, with threads that have ended, to the nanosecond (Linux)."""
    processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    clocks = [~each << 3 | 2 for each in processes]  # as clock_getcpuclockid(3) makes them
    return lambda: sum(map(time.clock_gettime, clocks))


def phone_photograph() -> bytes:
    """A JPEG of 16 megapixels as phones write them: with grain, and lying on its side."""
    picture = np.asarray(Image.open(io.BytesIO(photograph())).resize(PHONE), np.float32)
    grain = np.random.default_rng(0).normal(0, NOISE, picture.shape[:2])[..., None]
    upright = Image.Exif()
    upright[0x0112] = 6  # to be turned by a quarter
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90, exif=upright)
    return buffer.getvalue()


def ever_new(image: bytes) -> Iterator[bytes]:
    """A few bytes behind the end of the JPEG: another image to every cache, the same work to decode."""
    return (image + serial.to_bytes(8, "little") for serial in count())


def questions(client: httpx.Client, phone: bytes) -> dict[str, tuple[str, Ask]]:
    """Each kind of request, by name: how many make a round, and how one is made."""
    images, phones = ever_new(photograph()), ever_new(phone)
    clicks = ({"points": [{"x": 20 + 37 * turn % 600, "y": 20 + 53 * turn % 440}]} for turn in count())

    def ask(image: bytes | str, question: dict[str, object]) -> str:
        if isinstance(image, str):
            response = client.post("/segment", json={"image": {"id": image}, **question})
        else:
            response = client.post("/segment", files={"image": image}, data={"request": json.dumps(question)})
        answer = response.raise_for_status().json()
        assert answer["cache"]["features"] == isinstance(image, str)
        return str(answer["image_id"])

    words: dict[str, object] = {"classes": CLASSES}
    draw = random.Random(0)
    lists: list[dict[str, object]] = [{"classes": draw.sample([*CLASSES, *MORE], len(CLASSES))} for _ in range(LISTS)]
    others = cycle(lists)
    known = ask(next(images), {"prompts": [next(clicks)]})
    return {
        "first click": ("new", lambda: ask(next(images), {"prompts": [next(clicks)]})),
        "later click": ("known", lambda: ask(known, {"prompts": [next(clicks)]})),
        "16 clicks": ("large", lambda: ask(known, {"prompts": [next(clicks) for _ in range(16)]})),
        "first question": ("new", lambda: ask(next(images), words)),
        "the same words again": ("known", lambda: ask(known, words)),
        "other words": ("known", lambda: ask(known, next(others))),
        "instances": ("known", lambda: ask(known, {**words, "task": "instance"})),
        "panoptic": ("known", lambda: ask(known, {**words, "task": "panoptic"})),
        "phone": ("large", lambda: ask(next(phones), words)),
    }


class Spent(NamedTuple):
    """Milliseconds of one request, over a round."""

    cpu: float
    wall: float


def spent(kind: str, ask: Ask, clock: Callable[[], float]) -> Spent:
    """Of one request, over a round; its wall time is the median."""
    before, walls = clock(), []
    for _ in range(BLOCK[kind]):
        began = time.perf_counter()
        ask()
        walls.append(time.perf_counter() - began)
    return Spent(1e3 * (clock() - before) / BLOCK[kind], 1e3 * median(walls))


class Asked:
    """One server, and what a request of each kind took in each round."""

    def __init__(self, url: str, pid: int, phone: bytes) -> None:
        self._questions = questions(httpx.Client(base_url=url, timeout=120), phone)
        self._clock = cpu_clock(pid)
        self.rounds: list[dict[str, Spent]] = []
        self._round()  # warms up

    def _round(self) -> dict[str, Spent]:
        return {name: spent(*how, self._clock) for name, how in self._questions.items()}

    def measure(self) -> None:
        """One round."""
        self.rounds.append(self._round())

    def typical(self, name: str) -> Spent:
        """The medians of the rounds."""
        return Spent(*map(median, zip(*(took[name] for took in self.rounds), strict=True)))


def run() -> None:
    """What follows against first calls of the same round; the phone; of two checkouts what each takes."""
    phone = phone_photograph()
    with ExitStack() as up:
        servers = [up.enter_context(serving(of(checkout))) for checkout in checkouts()]
        services = [Asked(url, process.pid, phone) for url, process in servers]
        for number in range(ROUNDS):
            for service in services[:: 1 if number % 2 else -1]:
                service.measure()
    now = services[-1]

    def compared(first: str, later: str) -> list[str]:
        ratio = median(took[later].cpu / took[first].cpu for took in now.rounds)
        return [later, first, f"{now.typical(first).cpu:.1f}", f"{now.typical(later).cpu:.1f}", f"{ratio:.3f}"]

    rows = [
        compared("first click", "later click"),
        compared("first question", "later click"),
        compared("first question", "the same words again"),
        compared("first question", "other words"),
    ]
    head = ["what follows", "first call", "first, CPU ms", "what follows, CPU ms", "ratio"]
    print_table(f"`lexiseg serve` over REST, 640 x 480 JPEG, {len(CLASSES)} classes", head, rows)
    width, height = PHONE
    row = [f"{width} x {height}, {len(phone) / 1e6:.1f} MB", f"{now.typical('phone').cpu:.0f}", str(LIMIT)]
    print_table("A phone's photograph", ["image", "CPU ms", "at most"], [row])
    if len(services) > 1:
        _against(*services)


def _against(before: Asked, now: Asked) -> None:
    rows = []
    for name in now.rounds[0]:
        pairs = [(first[name], last[name]) for first, last in zip(before.rounds, now.rounds, strict=True)]
        cpu = sorted(last.cpu / first.cpu for first, last in pairs)
        wall = sorted(last.wall / first.wall for first, last in pairs)
        old, new = before.typical(name), now.typical(name)
        rows.append(
            [
                name,
                *(f"{took:.1f}" for took in (old.cpu, new.cpu)),
                f"{median(cpu):.2f} ({cpu[0]:.2f}, {cpu[-1]:.2f})",
                *(f"{took:.1f}" for took in (old.wall, new.wall)),
                f"{median(wall):.2f} ({wall[0]:.2f}, {wall[-1]:.2f})",
            ]
        )
    of_cpu, of_wall = (
        ["before, CPU ms", "now", "ratio (least, most)"],
        ["before, wall ms", "now", "ratio (least, most)"],
    )
    print_table("Each kind of request", ["request", *of_cpu, *of_wall], rows)
