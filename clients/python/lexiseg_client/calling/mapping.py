"""Ask one question about many images: bounded concurrency, answers in input order, a progress line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias, TypeVar

from lexiseg_client.errors import LexisegError

Input = TypeVar("Input")
A = TypeVar("A")
Progress: TypeAlias = Callable[[int, "int | None"], object]  # images done, images in total (None: unknown)
OnError: TypeAlias = Literal["raise", "return"]
IMAGE_ERRORS = (LexisegError, OSError)  # errors that may concern one image only
PROGRESS_INTERVAL = 0.1  # seconds


class ProgressLine:
    """Progress on one line of a terminal or notebook: `37/100 images, 4.2 a second`."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._written = float("-inf")

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        last = done == total
        if now - self._written < PROGRESS_INTERVAL and not last:
            return
        self._written = now
        of = "" if total is None else f"/{total}"
        rate = done / max(now - self._began, 1e-3)
        print(f"\r{done}{of} images, {rate:.1f} a second ", end="\n" if last else "", file=sys.stderr, flush=True)


def progress_callback(progress: bool | Progress | None) -> Progress:
    """The progress callback: None prints a line on a terminal or in a notebook, True always, False never."""
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    if progress is True:
        return ProgressLine()
    if progress is False:
        return lambda done, total: None
    return progress


def map_threads(
    segment: Callable[[Input], A], images: Iterable[Input], concurrency: int, progress: Progress, on_error: OnError
) -> Generator[A | Exception, None, None]:
    """Yield answers in input order from a thread pool; images are read only as calls start.

    Leaving the loop early cancels calls that have not started and waits for the others.
    """
    total = len(images) if isinstance(images, Sized) else None
    waiting: deque[Callable[[], A]] = deque()
    done = 0
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="lexiseg-map")
    try:
        for image in images:
            waiting.append(pool.submit(segment, image).result)
            if len(waiting) == concurrency:
                answer = _result(waiting.popleft(), on_error)
                done += 1
                progress(done, total)
                yield answer
        while waiting:
            answer = _result(waiting.popleft(), on_error)
            done += 1
            progress(done, total)
            yield answer
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


async def map_async(
    segment: Callable[[Input], Awaitable[A]],
    images: Iterable[Input],
    concurrency: int,
    progress: Progress,
    on_error: OnError,
) -> AsyncGenerator[A | Exception, None]:
    """As `map_threads`, with tasks in the event loop; leaving the loop early cancels them."""
    total = len(images) if isinstance(images, Sized) else None
    waiting: deque[asyncio.Future[A]] = deque()
    done = 0

    async def next_result() -> A | Exception:
        try:
            return await waiting.popleft()
        except IMAGE_ERRORS as error:
            if on_error == "raise":
                raise
            return error

    try:
        for image in images:
            waiting.append(asyncio.ensure_future(segment(image)))
            if len(waiting) == concurrency:
                answer = await next_result()
                done += 1
                progress(done, total)
                yield answer
        while waiting:
            answer = await next_result()
            done += 1
            progress(done, total)
            yield answer
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def validate_map_arguments(concurrency: int, on_error: str) -> None:
    """Check the arguments of `map` before anything is sent.

    Raises:
        ValueError: concurrency below 1, or an unknown `on_error`.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency: expected 1 or more, got {concurrency}")
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error: expected raise or return, got {on_error!r}")


def _result(result: Callable[[], A], on_error: OnError) -> A | Exception:
    try:
        return result()
    except IMAGE_ERRORS as error:
        if on_error == "raise":
            raise
        return error
