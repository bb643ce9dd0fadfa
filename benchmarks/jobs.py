"""A job beside 32 clients, and what a job costs one interactive client; ratios of alternating rounds of one server."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from statistics import median

import httpx

from benchmarks.calls.servers import LEXISEG, running_server
from benchmarks.serving import CLASSES, photograph
from benchmarks.timing import median_and_range, print_table
from lexiseg_client import Client, Job

PICTURES = int(os.environ.get("PICTURES", "200"))  # of a job
CLIENTS = 32
ROUNDS = 3
SECONDS = 6.0  # of clients, in each round
BUSY = 429
SERIALS = count()
encoded = cache(photograph)


def unique() -> bytes:
    """A photograph that no cache has."""
    return encoded() + next(SERIALS).to_bytes(8, "little")


def times_of_clients(url: str, clients: int, over: threading.Event) -> list[float]:
    """Seconds of each request of some clients that ask again and again until `over` is set."""
    times: list[float] = []

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=120) as http:
            while not over.is_set():
                began = time.perf_counter()
                answer = http.post("/v1/segment", files={"image": unique()}, data={"classes": CLASSES})
                if answer.status_code == BUSY:
                    time.sleep(float(answer.headers["Retry-After"]))
                    continue
                answer.raise_for_status()
                times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def for_a_while(url: str, clients: int) -> list[float]:
    """As `times_of_clients`, for `SECONDS`."""
    over = threading.Event()
    timer = threading.Timer(SECONDS, over.set)
    timer.start()
    return times_of_clients(url, clients, over)


@contextmanager
def running_job(url: str, folder: Path) -> Iterator[Job]:
    """A job of new pictures, removed at the end."""
    for each in folder.iterdir():
        each.unlink()
    for number in range(PICTURES):
        (folder / f"{number:05d}.jpg").write_bytes(unique())
    with Client(url) as client:
        job = client.jobs.create(CLASSES, folder=str(folder))
        yield job
        job.delete()


def beside_a_job(url: str, job: Job) -> list[float]:
    """Seconds of each request of one client while a job runs."""
    over = threading.Event()

    def wait() -> None:
        job.wait(progress=False)
        over.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    times = times_of_clients(url, 1, over)
    waiting.join()
    return times


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        settings = {"LEXISEG_JOBS": "true", "LEXISEG_STATE_DIR": place, "LEXISEG_JOB_FOLDERS": str(folder)}
        throughput, slowdown = [], []
        rows = []
        with running_server(LEXISEG._replace(environment=settings)) as (url, _):
            for_a_while(url, CLIENTS)  # warm
            for _ in range(ROUNDS):
                by_clients = len(for_a_while(url, CLIENTS)) / SECONDS
                with running_job(url, folder) as job:
                    by_job = job.wait(progress=False).per_minute / 60
                alone = median(for_a_while(url, 1))
                with running_job(url, folder) as job:
                    beside = median(beside_a_job(url, job))
                throughput.append(by_job / by_clients)
                slowdown.append(beside / alone)
                rows.append([f"{by_clients:.1f}", f"{by_job:.1f}", f"{1e3 * alone:.0f}", f"{1e3 * beside:.0f}"])
        head = [f"{CLIENTS} clients, images/s", "a job, images/s", "p50 alone, ms", "p50 beside a job, ms"]
        print_table("Jobs", head, rows)
        print(f"throughput of a job / of {CLIENTS} clients: {median_and_range(throughput, 2)} (goal: 0.9)")
        print(f"p50 of one client beside a job / alone: {median_and_range(slowdown, 2)} (goal: at most 1.5)")
