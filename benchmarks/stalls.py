"""How long one large request keeps the gateway's event loop from everybody else's.

A task that wants to run every millisecond tells the longest it had to wait while one request is read, checked and
answered. Of several rounds the shortest counts: what else the machine does only adds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import numpy as np
import structlog

from benchmarks.clock import print_table
from benchmarks.serving import photograph
from lexiseg_model import catalogue
from lexiseg_model.types import ModelCard, Ring, Rle, Segment
from lexiseg_service.gateway.app import create_app
from lexiseg_service.question.backend import Health
from lexiseg_service.question.messages import CacheUse, Exemplified, Timings, WorkerAnswer, WorkerRequest
from lexiseg_service.question.stream_messages import FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics

ROUNDS = 9
TICK = 0.001  # seconds
READ = 64 * 2**10  # bytes of a body that a server hands over at once
SYNONYMS = 8
CORNERS = 50_000
PICTURE_BYTES = 20 * 2**20


class Wait(NamedTuple):
    """Seconds: as the clock goes, and of them those in which the event loop's own thread worked."""

    wall: float
    cpu: float


class Answering:
    """A backend that answers one thing, at once."""

    def __init__(self, answer: WorkerAnswer) -> None:
        self._answer = answer

    def health(self) -> Health:
        return Health(True, True, "")

    def cards(self) -> list[ModelCard]:
        return [catalogue.read_card(catalogue.bundled()["tiny"])]

    def digest(self, name: str) -> str | None:
        return "0"

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        return self._answer

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        return Exemplified("a", "0", (), None)

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        async for _ in steps:
            yield FrameAnswer("0", 0, self._answer)

    async def start(self) -> None: ...

    async def close(self) -> None: ...


def run() -> None:
    """Prints the table of docs/performance/serving.md."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rows = []
    for what, answer, parts in cases():
        wait = asyncio.run(longest_wait(answer, parts))
        rows.append([what, f"{1e3 * wait.wall:.1f}", f"{1e3 * wait.cpu:.1f}"])
    head = ["request", "longest wait, ms", "CPU of the loop's thread in one go, ms"]
    print_table(f"The event loop while one request is answered, best of {ROUNDS}", head, rows)


def cases() -> Iterator[tuple[str, WorkerAnswer, dict[str, Any]]]:
    """What is asked, what the answer is, and the request."""
    image = ("a.jpg", photograph())
    classes = [f"class number {index}" for index in range(2000)]
    with_synonyms = [
        {"name": name, "synonyms": [f"{name[6:]}, {s}" for s in range(SYNONYMS)]} for name in classes[:1200]
    ]
    fields = [("classes", (None, name)) for name in classes]
    polygon = replace(small(), polygons=([ring(CORNERS)],))
    yield "three classes", small(), {"files": [("image", image), *fields[:3]]}
    yield "2,000 classes, form", small(), {"files": [("image", image), *fields]}
    yield (
        "1,200 classes with 8 synonyms each, form",
        small(),
        {"files": [("image", image), ("request", (None, json.dumps({"classes": with_synonyms})))]},
    )
    yield "the same, JSON", small(), {"json": {"image": {"id": "a"}, "classes": with_synonyms}}
    by_polygon = [*fields[:3], ("mask", (None, "polygon"))]
    yield f"a polygon of {CORNERS:,} corners", polygon, {"files": [("image", image), *by_polygon]}
    overlay = replace(small(), overlay=np.random.default_rng(0).bytes(PICTURE_BYTES))
    yield "an overlay of 20 MB", overlay, {"files": [("image", image), *fields[:3], ("overlay", (None, "true"))]}


def small() -> WorkerAnswer:
    """One segment."""
    segment = Segment(1, "sky", 0, 0.9, Rle((4, 4), "088", 8, (0, 0, 2, 4)))
    timings = Timings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return WorkerAnswer("a", "tiny", "0", "semantic", (4, 4), (segment,), timings, CacheUse(0, 0))


def ring(corners: int) -> Ring:
    """A border of many corners."""
    return Ring(np.random.default_rng(0).integers(0, 4000, 2 * corners).tolist(), [])


async def longest_wait(answer: WorkerAnswer, parts: dict[str, Any]) -> Wait:
    """How long the ticking task waited beyond its tick, at most, in the best of the rounds."""
    app = create_app(Settings(), Answering(answer), Metrics())
    request = httpx.Request("POST", "http://localhost/v1/segment", **parts)
    body = request.read()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/segment",
        "raw_path": b"/v1/segment",
        "query_string": b"",
        "scheme": "http",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }
    waits: list[Wait] = []

    async def tick() -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            waits.append(Wait(time.perf_counter() - wall - TICK, time.thread_time() - cpu))

    async def once() -> Wait:
        pieces = [body[start : start + READ] for start in range(0, len(body), READ)]
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        waits.clear()
        await app({**scope}, receive, send)
        await asyncio.sleep(10 * TICK)  # so that the tick after a stall is counted
        if statuses[0] != 200:
            raise RuntimeError(f"expected 200, got {statuses[0]}")
        return Wait(max(wait.wall for wait in waits), max(wait.cpu for wait in waits))

    ticking = asyncio.create_task(tick())
    await once()  # the first request finds nothing prepared
    rounds = [await once() for _ in range(ROUNDS)]
    ticking.cancel()
    return Wait(min(wait.wall for wait in rounds), min(wait.cpu for wait in rounds))
