"""Clicks: the first on an image against those that follow, here and over REST; many a request; proposals, panoptic."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, cycle
from statistics import fmean, median
from typing import NamedTuple

import httpx
import numpy as np
from PIL import Image

from benchmarks.calls.servers import LEXISEG, cpu_seconds, serving
from benchmarks.clock import cost, print_table
from benchmarks.serving import CLASSES, photograph
from lexiseg_model import catalogue
from lexiseg_model.features import Features
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
PASSES = 3  # of proposals alone
TARGET = 0.1  # of the first call, that a later click may cost
CROWDS = (1, 16, 256)  # prompts of a request
SIZES = ((WIDTH, HEIGHT), (4000, 3000), (7300, 5475))  # up to the most pixels that are taken
FORMS: tuple[tuple[int, MaskFormat], ...] = ((16, "none"), (16, "rle"), (16, "polygon"), (256, "none"), (256, "rle"))
FIRST, LATER = Point(320, 240), (Point(200, 300), Point(450, 120))
WORDS = tuple(ClassEntry(name) for name in CLASSES)

Ask = Callable[[bytes], object]


class Asking:
    """Questions to an engine in this process, answered one after the other."""

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


class RestAsking:
    """Clicks over REST: an image is sent once and named afterwards."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._ids: dict[bytes, str] = {}

    def first(self, image: bytes) -> None:
        """Sends the image with a click."""
        data = {"request": json.dumps({"prompts": _as_json(FIRST)})}
        response = self._client.post("/segment", files={"image": image}, data=data).raise_for_status()
        self._ids[image] = response.json()["image_id"]

    def later(self, image: bytes) -> None:
        """Clicks again on an image that was sent."""
        question = {"image": {"id": self._ids[image]}, "prompts": _as_json(LATER[0])}
        response = self._client.post("/segment", json=question).raise_for_status()
        assert response.json()["cache"]["features"], "the image was not kept"


def _as_json(point: Point) -> list[dict[str, object]]:
    return [{"points": [{"x": point.x, "y": point.y}]}]


def new_images() -> Iterator[bytes]:
    """A few bytes behind the end of a JPEG: another image to every cache, the same work to decode."""
    image = photograph()
    for serial in count():
        yield image + serial.to_bytes(8, "little")


def grid(n_points: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> tuple[Prompt, ...]:
    """So many clicks, spread over a picture of (width, height)."""
    width, height = size
    columns = max(1, round((n_points * width / height) ** 0.5))
    rows = -(-n_points // columns)
    places = [(x + 0.5, y + 0.5) for y in range(rows) for x in range(columns)]
    return tuple(Prompt((Point(x / columns * width, y / rows * height),)) for x, y in places[:n_points])


class Spent(NamedTuple):
    """Milliseconds of one call: on the wall clock, and of CPU."""

    wall: float
    cpu: float


def spent(work: Callable[[], object], cpu_clock: Callable[[], float]) -> Spent:
    """Of one run; `cpu_clock` tells the CPU seconds of whoever works."""
    wall, cpu = time.perf_counter(), cpu_clock()
    work()
    return Spent(1e3 * (time.perf_counter() - wall), 1e3 * (cpu_clock() - cpu))


def first_and_later(
    images: Iterator[bytes], first: Ask, later: Ask, cpu_clock: Callable[[], float] = time.process_time
) -> list[tuple[Spent, Spent]]:
    """A call about a new image and one that follows, for each round."""
    pairs = []
    for _, image in zip(range(ROUNDS + 1), images, strict=False):
        pairs.append((spent(partial(first, image), cpu_clock), spent(partial(later, image), cpu_clock)))
    return pairs[1:]  # the first round warms up


def shown(calls: Sequence[Spent]) -> str:
    """The median on the wall clock, and the mean of CPU.

    The CPU time of another process is told in steps of 10 ms: only over many calls it means something.
    """
    return f"{median(call.wall for call in calls):.1f} ({fmean(call.cpu for call in calls):.1f})"


def compared(pairs: list[tuple[Spent, Spent]]) -> list[str]:
    """First calls, later ones, their ratio, and whether it reaches the target."""
    firsts, laters = zip(*pairs, strict=True)
    ratio = median(later.wall / first.wall for first, later in pairs)
    of_cpu = fmean(later.cpu for later in laters) / fmean(first.cpu for first in firsts)
    return [shown(firsts), shown(laters), f"{ratio:.3f} ({of_cpu:.3f})", "yes" if ratio <= TARGET else "no"]


def clicks(images: Iterator[bytes], ask: Asking) -> None:
    """The first call about an image against clicks that follow."""
    places = cycle(Prompt((point,)) for point in LATER)
    click = (Prompt((FIRST,)),)

    def later(image: bytes) -> object:
        return ask(image, "prompt", (next(places),))

    def later_with_words(image: bytes) -> object:
        return ask(image, "prompt", (next(places),), WORDS)

    kinds: list[tuple[str, Ask, Ask]] = [
        ("a click", lambda image: ask(image, "prompt", click), later),
        (f"a click, {len(WORDS)} classes", lambda image: ask(image, "prompt", click, WORDS), later_with_words),
        (f"panoptic, {len(WORDS)} classes", lambda image: ask(image, "panoptic", (), WORDS), later),
    ]
    rows = [
        ["engine alone", name, *compared(first_and_later(images, first, follows))] for name, first, follows in kinds
    ]
    with serving(LEXISEG) as (url, process), httpx.Client(base_url=url, timeout=120) as client:
        over = RestAsking(client)
        pairs = first_and_later(images, over.first, over.later, partial(cpu_seconds, process))
        rows.append(["REST", "a click", *compared(pairs)])
    head = ["way", "first call", "first, ms (CPU)", "a later click, ms (CPU)", "ratio (CPU)", f"at most {TARGET:g}"]
    print_table(f"A click on an image already seen, {WHAT}", head, rows)


def crowds(ask: Asking) -> None:
    """Many clicks in one request about a known image: all their masks, as run lengths."""
    image = photograph()
    rows = []
    for n_prompts in CROWDS:
        for classes in ((), WORDS):
            work = partial(ask, image, "prompt", grid(n_prompts), classes)
            spent = cost(work, runs=3)
            rows.append(
                [
                    str(n_prompts),
                    str(len(classes) or "-"),
                    str(len(work().segments)),
                    f"{1e3 * spent.wall:.1f}",
                    f"{1e3 * spent.wall / n_prompts:.2f}",
                    f"{1e3 * spent.cpu:.1f}",
                ]
            )
    head = ["prompts", "classes", "masks", "ms", "ms a prompt", "CPU ms"]
    print_table(f"Prompts of one request about a known image, {WHAT}, engine alone", head, rows)


def large(ask: Asking) -> None:
    """What the masks of known images cost as the images grow."""
    rows = []
    for size in SIZES:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(photograph())).resize(size).save(buffer, "JPEG")
        for n_prompts, form in FORMS:
            work = partial(ask, buffer.getvalue(), "prompt", grid(n_prompts, size), (), form)
            n_masks = len(work().segments)  # and the image is known
            spent = cost(work, runs=1)
            shown = [f"{spent.wall:.2f}", f"{spent.cpu:.2f}", f"{1e3 * spent.cpu / n_masks:.2f}"]
            rows.append([f"{size[0]} x {size[1]}", str(n_prompts), form, str(n_masks), *shown])
    head = ["image", "prompts", "mask", "masks", "s", "CPU s", "CPU ms a mask"]
    print_table("Prompts of one request about a known image that grows, engine alone", head, rows)


def features_of(segmenter: Segmenter) -> Features:
    """Of the photograph, with nothing derived from them yet."""
    plan = segmenter.plan(np.asarray(Image.open(io.BytesIO(photograph()))))
    return segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))


def proposals(images: Iterator[bytes], segmenter: Segmenter, ask: Asking) -> None:
    """Proposals and the tasks that may be made of them, about a new image and about a known one."""
    fresh = [features_of(segmenter) for _ in range(PASSES)]
    times = [spent(partial(segmenter.propose, features), time.process_time) for features in fresh]
    n_masks = len(segmenter.propose(fresh[0]).quality)
    rows = [[f"proposals alone ({n_masks} masks), without the image pass", shown(times), "-"]]
    tasks: tuple[Task, ...] = ("semantic", "instance", "panoptic")
    for task in tasks:
        work = partial(ask, task=task, classes=WORDS)
        rows.append(
            [f"{task}, {len(WORDS)} classes", *map(shown, zip(*first_and_later(images, work, work), strict=True))]
        )
    print_table(f"Tasks, {WHAT}, engine alone", ["what", "new image, ms (CPU)", "known image, ms (CPU)"], rows)


def run() -> None:
    """Four tables, of the bundled model or one of its name in LEXISEG_MODELS_DIR."""
    settings = Settings()
    segmenter = catalogue.load(MODEL, models_dir=settings.models_dir)
    if missing := {"prompt", "panoptic"} - set(segmenter.card.tasks):
        print(f"\nprompts are left out: {MODEL} cannot do {' and '.join(sorted(missing))}")
        return
    engine = Engine(segmenter, settings, Metrics())
    try:
        engine.warm_up()
        ask = Asking(engine)
        images = new_images()
        clicks(images, ask)
        crowds(ask)
        large(ask)
        proposals(images, segmenter, ask)
    finally:
        engine.close(0)
