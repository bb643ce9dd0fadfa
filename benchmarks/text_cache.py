"""What a vocabulary of 1,000 classes costs from each level of the text cache, against a redis-server of its own."""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from benchmarks.clock import print_table
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts.rows import TextCaches

CLASSES = [f"a photo of a thing number {index}." for index in range(1000)]
WIDTH = 384
KEY = "signs the rows of the benchmark"
ROUNDS = 15
START_SECONDS = 10.0


def encode(texts: list[str]) -> NDArray[np.float16]:
    """A tower that takes no time."""
    return np.ones((len(texts), WIDTH), np.float16)


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of this process's CPU time."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - cpu)


@contextmanager
def redis_server() -> Iterator[str]:
    """A redis-server of its own, in memory, on a free port; ended by its pid."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def run() -> None:
    """A table: what the lookup adds to a request."""
    if shutil.which("redis-server") is None:
        print("the text cache is left out: no redis-server on this machine")
        return
    with redis_server() as url:
        rows = _measure(SecretStr(url))
    head = ["rows from", "median ms", "best ms", "CPU ms"]
    print_table(f"A vocabulary of {len(CLASSES):,} classes", head, rows)


def _measure(address: SecretStr) -> list[list[str]]:
    settings, metrics = Settings(redis_url=address, text_rows_key=SecretStr(KEY)), Metrics()
    times_of: dict[str, list[tuple[float, float]]] = {
        "the tower (its own time left out)": [],
        "Redis": [],
        "memory": [],
    }
    for _ in range(ROUNDS):
        space = uuid.uuid4().hex  # rows that nobody has made before
        workers = [TextCaches(settings, metrics) for _ in range(2)]
        caches = [worker.space(space, encode) for worker in workers]
        for cache in caches:
            cache.rows(["warm-up"])  # connected
        for name, cache in zip(times_of, (caches[0], caches[1], caches[1]), strict=True):
            times_of[name].append(milliseconds(partial(cache.rows, CLASSES)))
        for worker in workers:
            worker.close()
    rows = []
    for name, times in times_of.items():
        clock, cpu = zip(*times, strict=True)
        rows.append([name, f"{statistics.median(clock):.2f}", f"{min(clock):.2f}", f"{statistics.median(cpu):.2f}"])
    return rows
