"""Prompts: the first click on an image against later ones, in process and over REST; many prompts; large images."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from statistics import fmean, median
from typing import NamedTuple

import httpx
import numpy as np
from PIL import Image

from benchmarks.calls.servers import LEXISEG, cpu_seconds, running_server
from benchmarks.serving import CLASSES, photograph, unique_images
from benchmarks.timing import cost, print_table
from lexiseg_model.abilities import proposing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, Point, Prompt, Task, Vocabulary
from lexiseg_service.question.messages import MaskFormat, WorkerAnswer, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.engine import Engine

MODEL = "tiny"
WIDTH, HEIGHT = 640, 480  # of the photograph
WHAT = f"{WIDTH} x {HEIGHT} JPEG"
ROUNDS = 15
PASSES = 3  # repetitions of proposals
TARGET = 0.1  # maximum cost of a later click, relative to the first call
PROMPT_COUNTS = (1, 16, 256)  # per request
SIZES = ((WIDTH, HEIGHT), (4000, 3000), (7300, 5475))  # up to the pixel limit
FORMS: tuple[tuple[int, MaskFormat], ...] = ((16, "none"), (16, "rle"), (16, "polygon"), (256, "none"), (256, "rle"))
FIRST, LATER = Point(320, 240), (Point(200, 300), Point(450, 120))
WORDS = tuple(ClassEntry(name) for name in CLASSES)

Ask = Callable[[bytes], object]


class EngineClient:
    """Sends requests to an engine in this process, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(
        self,
        image: bytes,
        task: Task,
        prompts: tuple[Prompt, ...] = (),
        classes: tuple[ClassEntry, ...] = (),
        mask: MaskFormat = "rle",
    ) -> WorkerAnswer:
        request = WorkerRequest(image, Vocabulary(classes), MODEL, task=task, prompts=prompts, mask=mask)
        return self._engine.submit(request).result()


class RestClicks:
    """Sends clicks over REST: uploads an image once, then refers to its id."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._ids: dict[bytes, str] = {}

    def first(self, image: bytes) -> None:
        """Send the image with a click."""
        data = {"request": json.dumps({"prompts": _as_json(FIRST)})}
        response = self._client.post("/segment", files={"image": image}, data=data).raise_for_status()
        self._ids[image] = response.json()["image_id"]

    def later(self, image: bytes) -> None:
        """Click again on an image sent before."""
        question = {"image": {"id": self._ids[image]}, "prompts": _as_json(LATER[0])}
        response = self._client.post("/segment", json=question).raise_for_status()
        assert response.json()["cache"]["features"], "the image's features were not cached"


def _as_json(point: Point) -> list[dict[str, object]]:
    return [{"points": [{"x": point.x, "y": point.y}]}]


def grid(n_points: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> tuple[Prompt, ...]:
    """`n_points` clicks on a regular grid over an image of (width, height)."""
    width, height = size
    columns = max(1, round((n_points * width / height) ** 0.5))
    rows = -(-n_points // columns)
    centres = [(x + 0.5, y + 0.5) for y in range(rows) for x in range(columns)]
    return tuple(Prompt((Point(x / columns * width, y / rows * height),)) for x, y in centres[:n_points])


class Elapsed(NamedTuple):
    """Milliseconds of one call: wall clock and CPU."""

    wall: float
    cpu: float


def timed(work: Callable[[], object], cpu_clock: Callable[[], float]) -> Elapsed:
    """Time one call; `cpu_clock` returns the CPU seconds of the process that does the work."""
    wall, cpu = time.perf_counter(), cpu_clock()
    work()
    return Elapsed(1e3 * (time.perf_counter() - wall), 1e3 * (cpu_clock() - cpu))


def first_and_later(
    images: Iterator[bytes], first: Ask, later: Ask, cpu_clock: Callable[[], float] = time.process_time
) -> list[tuple[Elapsed, Elapsed]]:
    """Times of a call on a new image and of a later call on it, for each round."""
    pairs = []
    for _, image in zip(range(ROUNDS + 1), images, strict=False):
        pairs.append((timed(partial(first, image), cpu_clock), timed(partial(later, image), cpu_clock)))
    return pairs[1:]  # the first round warms up


def summarised(calls: Sequence[Elapsed]) -> str:
    """Median wall time, and mean CPU time: another process's CPU clock has a resolution of 10 ms."""
    return f"{median(call.wall for call in calls):.1f} ({fmean(call.cpu for call in calls):.1f})"


def compared(pairs: list[tuple[Elapsed, Elapsed]]) -> list[str]:
    """Table cells: first calls, later calls, their ratio, and whether it meets the target."""
    firsts, laters = zip(*pairs, strict=True)
    ratio = median(later.wall / first.wall for first, later in pairs)
    cpu_ratio = fmean(later.cpu for later in laters) / fmean(first.cpu for first in firsts)
    cells = [summarised(firsts), summarised(laters), f"{ratio:.3f} ({cpu_ratio:.3f})"]
    return [*cells, "yes" if ratio <= TARGET else "no"]


def clicks(images: Iterator[bytes], ask: EngineClient) -> None:
    """Compare the first call on an image with later clicks, in process and over REST."""
    later_clicks = cycle(Prompt((point,)) for point in LATER)
    click = (Prompt((FIRST,)),)

    def later(image: bytes) -> object:
        return ask(image, "prompt", (next(later_clicks),))

    def later_with_words(image: bytes) -> object:
        return ask(image, "prompt", (next(later_clicks),), WORDS)

    cases: list[tuple[str, Ask, Ask]] = [
        ("a click", lambda image: ask(image, "prompt", click), later),
        (f"a click, {len(WORDS)} classes", lambda image: ask(image, "prompt", click, WORDS), later_with_words),
        (f"panoptic, {len(WORDS)} classes", lambda image: ask(image, "panoptic", (), WORDS), later),
    ]
    rows = [
        ["engine alone", name, *compared(first_and_later(images, first, follows))] for name, first, follows in cases
    ]
    with running_server(LEXISEG) as (url, process), httpx.Client(base_url=url, timeout=120) as client:
        rest = RestClicks(client)
        pairs = first_and_later(images, rest.first, rest.later, partial(cpu_seconds, process))
        rows.append(["REST", "a click", *compared(pairs)])
    head = [
        "interface",
        "first call",
        "first, ms (CPU)",
        "a later click, ms (CPU)",
        "ratio (CPU)",
        f"at most {TARGET:g}",
    ]
    print_table(f"A later click on an image, {WHAT}", head, rows)


def many_prompts(ask: EngineClient) -> None:
    """Time requests with many prompts on an image whose features are cached."""
    image = photograph()
    rows = []
    for n_prompts in PROMPT_COUNTS:
        for classes in ((), WORDS):
            work = partial(ask, image, "prompt", grid(n_prompts), classes)
            elapsed = cost(work, runs=3)
            rows.append(
                [
                    str(n_prompts),
                    str(len(classes) or "-"),
                    str(len(work().segments)),
                    f"{1e3 * elapsed.wall:.1f}",
                    f"{1e3 * elapsed.wall / n_prompts:.2f}",
                    f"{1e3 * elapsed.cpu:.1f}",
                ]
            )
    head = ["prompts", "classes", "masks", "ms", "ms a prompt", "CPU ms"]
    print_table(f"Prompts per request on a cached image, {WHAT}, engine alone", head, rows)


def large_images(ask: EngineClient) -> None:
    """Time prompts on cached images of growing size."""
    rows = []
    for size in SIZES:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(photograph())).resize(size).save(buffer, "JPEG")
        for n_prompts, form in FORMS:
            work = partial(ask, buffer.getvalue(), "prompt", grid(n_prompts, size), (), form)
            n_masks = len(work().segments)  # also fills the feature cache
            elapsed = cost(work, runs=1)
            cells = [f"{elapsed.wall:.2f}", f"{elapsed.cpu:.2f}", f"{1e3 * elapsed.cpu / n_masks:.2f}"]
            rows.append([f"{size[0]} x {size[1]}", str(n_prompts), form, str(n_masks), *cells])
    head = ["image", "prompts", "mask", "masks", "s", "CPU s", "CPU ms a mask"]
    print_table("Prompts per request on cached images by size, engine alone", head, rows)


def proposals(images: Iterator[bytes], segmenter: Segmenter, ask: EngineClient) -> None:
    """Time proposals and each task, on a new image and on a cached one."""
    rgb = np.asarray(Image.open(io.BytesIO(photograph())))
    fresh = [segmenter.encode(rgb) for _ in range(PASSES)]  # features cache their proposals
    times = [timed(partial(proposing(segmenter).propose, features), time.process_time) for features in fresh]
    n_masks = len(proposing(segmenter).propose(fresh[0]).quality)
    rows = [[f"proposals alone ({n_masks} masks), without the image pass", summarised(times), "-"]]
    tasks: tuple[Task, ...] = ("semantic", "instance", "panoptic")
    for task in tasks:
        work = partial(ask, task=task, classes=WORDS)
        rows.append(
            [f"{task}, {len(WORDS)} classes", *map(summarised, zip(*first_and_later(images, work, work), strict=True))]
        )
    print_table(f"Tasks, {WHAT}, engine alone", ["task", "new image, ms (CPU)", "cached image, ms (CPU)"], rows)


def run() -> None:
    """Print four tables for `tiny`, bundled or from LEXISEG_MODELS_DIR."""
    settings = Settings()
    segmenter = catalogue.load(MODEL, models_dir=settings.models_dir, runtime=settings.runtime)
    if missing := {"prompt", "panoptic"} - set(segmenter.card.tasks):
        print(f"\nprompts are skipped: {MODEL} has no {' and '.join(sorted(missing))}")
        return
    engine = Engine(segmenter, settings, Metrics())
    try:
        engine.warm_up()
        ask = EngineClient(engine)
        images = unique_images(photograph())
        clicks(images, ask)
        many_prompts(ask)
        large_images(ask)
        proposals(images, segmenter, ask)
    finally:
        engine.close(0)
