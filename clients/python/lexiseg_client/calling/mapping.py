"""Ask one question about many images: bounded concurrency, answers in input order, a progress line."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike, pictures_in
from lexiseg_client.question import Options
from lexiseg_labels.segmentation import Segmentation

Input = TypeVar("Input")
A = TypeVar("A")
Progress: TypeAlias = Callable[[int, "int | None"], object]  # images done, images in total (None: unknown)
Images: TypeAlias = Iterable[ImageLike] | str | os.PathLike[str]  # several images, or a folder
OnError: TypeAlias = Literal["raise", "return"]
IMAGE_ERRORS = (LexisegError, OSError)  # errors that may concern one image only
PROGRESS_INTERVAL = 0.1  # seconds
BAR_WIDTH = 20  # characters


class ProgressLine:
    """Progress on one line of a terminal or notebook: `[#####---------------] 37/100 images, 4.2 a second`."""

    def __init__(self, before: int = 0) -> None:
        self._before = before  # images that were done before it began
        self._began = time.monotonic()
        self._last_write = float("-inf")

    def __call__(self, count: int, total: int | None) -> None:
        now = time.monotonic()
        last = count == total
        if now - self._last_write < PROGRESS_INTERVAL and not last:
            return
        self._last_write = now
        bar, of = "", ""
        if total:
            bar, of = f"[{'#' * (BAR_WIDTH * count // total):-<{BAR_WIDTH}}] ", f"/{total}"
        rate = (count - self._before) / max(now - self._began, 1e-3)
        print(f"\r{bar}{count}{of} images, {rate:.1f} a second ", end="\n" if last else "", file=sys.stderr, flush=True)


class MapOptions(Options, total=False):
    """Options of `map`: of a request about an image, and how the requests are sent."""

    concurrency: int  # maximum number of requests in flight; default 8
    # True prints a line to standard error, None (default) only on a terminal or in a notebook; or a function of the
    # number of answers and the number of images (None if unknown).
    progress: bool | Progress | None
    timeout: float | None  # seconds for each image; None: the client's


OF_SENDING = MapOptions.__annotations__.keys() - Options.__annotations__.keys()  # the others are of the question


class MapPlan(NamedTuple):
    """Checked arguments of `map`; `step` is called after each answer, `options` are each request's."""

    images: Iterable[ImageLike]
    concurrency: int
    step: Callable[[], object]
    on_error: str
    timeout: float | None
    options: dict[str, Any]


def map_plan(images: Images, on_error: str, options: MapOptions, before: int = 0) -> MapPlan:
    """Check the arguments of `map`, and list the pictures of a folder; `before` images of the same work are done."""
    if isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
        images = pictures_in(Path(images))
    check_several(images, "images: expected several or a folder")
    several = cast("Iterable[ImageLike]", images)
    of_request: dict[str, Any] = {**options}
    concurrency, progress = of_request.pop("concurrency", 8), of_request.pop("progress", None)
    if not isinstance(concurrency, int) or concurrency < 1:
        raise ValueError(f"concurrency: expected 1 or more, got {concurrency!r}")
    if not (callable(progress) or isinstance(progress, bool | None)):
        raise TypeError(f"progress: expected True, False, None or a function, got {progress!r}")
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error: expected raise or return, got {on_error!r}")
    step, timeout = _steps(progress, several, before), of_request.pop("timeout", None)
    return MapPlan(several, concurrency, step, on_error, timeout, of_request)


def check_several(images: object, expected: str) -> None:
    """Raises TypeError: one image in place of several."""
    is_one = isinstance(images, (str, bytes, bytearray, os.PathLike, Segmentation))
    if is_one or not isinstance(images, Iterable | AsyncIterable):
        raise TypeError(f"{expected}, got one {type(images).__name__}; write [image]")


def _steps(progress: bool | Progress | None, images: Iterable[ImageLike], before: int) -> Callable[[], object]:
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    if progress is False:
        return lambda: None
    report = ProgressLine(before) if progress is True else progress
    numbers, total = count(before + 1), before + len(images) if isinstance(images, Sized) else None
    return lambda: report(next(numbers), total)


def map_threads(
    call: Callable[[Input], A], items: Iterable[Input], concurrency: int, step: Callable[[], object] = lambda: None
) -> Generator[A, None, None]:
    """Yield results in input order from a thread pool; items are read only as calls start.

    `step` is called before each result is yielded. Leaving the loop early cancels calls that have not started and waits
    for the others.
    """
    waiting: deque[Future[A]] = deque()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="lexiseg-map")

    def next_result() -> A:
        result = waiting.popleft().result()
        step()
        return result

    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) == concurrency:
                yield next_result()
        while waiting:
            yield next_result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


async def map_async(
    call: Callable[[Input], Awaitable[A]],
    items: Iterable[Input],
    concurrency: int,
    step: Callable[[], object] = lambda: None,
) -> AsyncGenerator[A, None]:
    """As `map_threads`, with tasks in the event loop; leaving the loop early cancels them."""
    waiting: deque[asyncio.Future[A]] = deque()

    async def next_result() -> A:
        result = await waiting.popleft()
        step()
        return result

    try:
        for item in items:
            waiting.append(asyncio.ensure_future(call(item)))
            if len(waiting) == concurrency:
                yield await next_result()
        while waiting:
            yield await next_result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
