"""What each thread of a service takes for a request: who has to do with HTTP, decoding, the image pass and the answer.

The threads tell their names themselves (`step_aside`), so this is for Linux. With `AGAINST=FOLDER`, another checkout,
both are asked in turns.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from benchmarks.calls.later import ever_new
from benchmarks.calls.servers import checkouts, of, serving
from benchmarks.clock import print_table
from benchmarks.serving import CLASSES, photograph

ROUNDS = 12  # of each kind, in turns
BLOCK = 16  # requests of a round
WARM_UP = 32  # requests
# Bytes of features. A small cache is soon full, as that of a long-lived process, whose memory then comes round again.
SMALL, LARGE = 40_000_000, 1_000_000_000
# Of whom a thread's name begins so; the first of the process is Python's own.
SHOWN = {"python": "event loop", "intake": "intake", "finish": "finish", "compute": "compute"}
BESIDE = "all beside the compute thread"
WALL = "from asking to answer, on the clock"


class Kind(NamedTuple):
    """Questions of one kind: their images, and settings of who is asked."""

    name: str
    images: Iterator[bytes]
    settings: Mapping[str, str] = {}


def kinds() -> list[Kind]:
    """About images that nobody has seen, when the cache is full and while it is not; about one that is known."""
    new = ever_new(photograph())
    return [
        Kind("new image", new, {"LEXISEG_FEATURE_CACHE_BYTES": str(SMALL)}),
        Kind("new image, while the cache is not full", new, {"LEXISEG_FEATURE_CACHE_BYTES": str(LARGE)}),
        Kind("known image", cycle([photograph()])),
    ]


def by_thread(pid: int) -> dict[str, float]:
    """CPU milliseconds so far, of all threads with a name."""
    spent: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, times = (task / "comm").read_text().strip(), (task / "schedstat").read_text()
        except FileNotFoundError:  # it has just ended
            continue
        spent[re.sub(r"_\d+$", "", name)] += int(times.split()[0]) / 1e6
    return spent


class Asked:
    """One server, and what its rounds took."""

    def __init__(self, url: str, pid: int, kind: Kind) -> None:
        self._client = httpx.Client(base_url=url, timeout=120)
        self._pid = pid
        self._images = kind.images
        self.rounds: list[dict[str, float]] = []
        self.block(WARM_UP)

    def block(self, n: int) -> None:
        """So many questions of one client, one after the other."""
        for _ in range(n):
            files = {"image": next(self._images)}
            self._client.post("/segment", files=files, data={"classes": CLASSES}).raise_for_status()

    def measure(self) -> None:
        """One round."""
        before, began = by_thread(self._pid), time.perf_counter()
        self.block(BLOCK)
        wall = 1e3 * (time.perf_counter() - began) / BLOCK
        spent = {name: (ms - before.get(name, 0.0)) / BLOCK for name, ms in by_thread(self._pid).items()}
        shown = {whose: spent.get(name, 0.0) for name, whose in SHOWN.items()}
        self.rounds.append({**shown, BESIDE: sum(spent.values()) - spent.get("compute", 0.0), WALL: wall})


@contextmanager
def asked(kind: Kind) -> Iterator[list[Asked]]:
    """The service of each checkout."""
    with ExitStack() as up:
        servers = [up.enter_context(serving(of(checkout, kind.settings))) for checkout in checkouts()]
        yield [Asked(url, process.pid, kind) for url, process in servers]


def told(values: list[float]) -> str:
    """The median, and the least."""
    return f"{median(values):.2f} ({min(values):.2f})"


def run() -> None:
    """A table for each kind of question; of two checkouts also the ratio within a round."""
    for kind in kinds():
        with asked(kind) as services:
            for number in range(ROUNDS):
                for service in services[:: 1 if number % 2 else -1]:
                    service.measure()
        rows = []
        for whose in (*SHOWN.values(), BESIDE, WALL):
            each = [[took[whose] for took in service.rounds] for service in services]
            ratio = median(last / max(first, 1e-9) for first, last in zip(each[0], each[-1], strict=True))
            rows.append([whose, *map(told, each), *([f"{ratio:.2f}"] if len(each) > 1 else [])])
        head = ["thread", "ms"] if len(services) == 1 else ["thread", "before, ms", "now, ms", "ratio"]
        print_table(f"A {kind.name}: CPU of a request over REST, one client, medians of rounds (least)", head, rows)
