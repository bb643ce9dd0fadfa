"""Requests to workers about several images, for one request of a client: a few at a time.

Each image passes the same checks, limits and routing as any other. Images by URL are fetched where the settings allow
it, and counted in the bytes that a gateway holds.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from copy import copy
from functools import partial
from itertools import starmap
from typing import Any, Generic, TypeVar

from lexiseg_service.errors import DeadlineExceeded, InvalidValue, QueueFull, RateLimited, ServiceError, UrlFetchOff
from lexiseg_service.image.url_fetch import FIELD, MAX_LOOKUPS, HostGuard, SystemResolver, UrlFetcher
from lexiseg_service.settings import Settings
from lexiseg_service.shares import Hold, Shares

T = TypeVar("T")
Count = Callable[[], Awaitable[None]]  # one more request of a client
MIN_PACED, MIN_PACED_SECONDS = 8, 2.0  # answered pictures, and their time, by which the others' is estimated
PACE_FACTOR = 1.2  # of the pictures that fit, above which a request is refused
MAX_CONCURRENT = 4  # images of one request that workers look at concurrently
IMAGE = re.compile(r"\Aimage(?=[:.]|\Z)")  # the field that errors about an image name
# The first bytes that the current request holds of fetched images: what it fetches in addition must not wait for it.
_FIRST_HOLD: ContextVar[Hold | None] = ContextVar("first_hold", default=None)


def with_field(error: ServiceError, field: str) -> ServiceError:
    """An error about an image, with the image's `field` in the request in place of `image`; others as they are."""
    copied = copy(error)  # several requests may wait for one image
    copied.detail = IMAGE.sub(lambda _: field, error.detail)
    findings = error.extra.get("errors", ())
    if findings:
        copied.extra = {
            **error.extra,
            "errors": [{**each, "field": IMAGE.sub(lambda _: field, each["field"])} for each in findings],
        }
    return copied


async def gather_limited(
    asks: Sequence[Callable[[], Awaitable[T]]], deadline: float, count: Count | None = None
) -> list[T]:
    """The results of all `asks`, in order; the first error cancels the others, one without room is asked again.

    `count` counts each but the first, for which the client's request itself counts.
    """
    turns: _Turns[T] = _Turns(len(asks), deadline, count)
    return await _together(starmap(turns.run, enumerate(asks)))


async def results_or_errors(
    asks: Sequence[Callable[[], Awaitable[T]]], deadline: float, count: Count
) -> list[T | ServiceError]:
    """As `gather_limited`, but an error about an image is its result, and the others go on."""
    turns: _Turns[T] = _Turns(len(asks), deadline, count)

    async def run(number: int, one: Callable[[], Awaitable[T]]) -> T | ServiceError:
        try:
            return await turns.run(number, one)
        except (QueueFull, RateLimited):
            raise
        except ServiceError as error:
            return error

    return await _together(starmap(run, enumerate(asks)))


class Pace:
    """Whether all pictures of a field can be answered in a share of the time; `others`: what to do with the rest."""

    def __init__(self, field: str, number: int, deadline: float, share: float, others: str) -> None:
        self._field, self._number, self._others = field, number, others
        self._end = time.monotonic() + share * (deadline - time.monotonic())
        self._n_answered = 0
        self._first = 0.0  # when one was answered; before, a model may have been loaded

    def check(self) -> None:
        """Count one that is answered. Raises InvalidValue: the others will clearly not be in time."""
        now = time.monotonic()
        self._n_answered += 1
        if self._n_answered == 1:
            self._first = now
        if self._n_answered < MIN_PACED or now - self._first < MIN_PACED_SECONDS:
            return
        rate = (self._n_answered - 1) / (now - self._first)
        fitting = int(self._n_answered + rate * max(0.0, self._end - now))
        if self._number > PACE_FACTOR * fitting:
            expected = f"about {fitting} in one request now, which must be answered in time; {self._others}"
            raise InvalidValue.of(self._field, f"{self._number} pictures", expected)


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Turns(Generic[T]):
    def __init__(self, n_images: int, deadline: float, count: Count | None) -> None:
        self._n_images = n_images
        self._count = count
        self._deadline = deadline
        self._places = asyncio.Semaphore(MAX_CONCURRENT)
        self._change = asyncio.Event()  # set when one is answered
        self._n_open = self._n_answered = 0

    async def run(self, number: int, one: Callable[[], Awaitable[T]]) -> T:
        async with self._places:
            count = self._count if number else None
            while True:
                self._n_open += 1
                n_answered = self._n_answered
                try:
                    if count is not None:
                        await count()
                        count = None
                    result = await one()
                except (QueueFull, RateLimited) as full:
                    retry_seconds = float(full.headers.get("Retry-After", 1))
                    if not self._n_answered and self._n_open == 1:
                        raise  # others' requests fill the queue: nothing is lost
                    if isinstance(full, RateLimited) and retry_seconds > self._deadline - time.monotonic() > 0:
                        raise  # as of a day's last request
                except DeadlineExceeded as late:
                    late.detail += self._progress
                    raise
                else:
                    self._n_answered += 1
                    self._change.set()
                    return result
                finally:
                    self._n_open -= 1
                if n_answered == self._n_answered:
                    await self._wait(retry_seconds)

    async def _wait(self, seconds: float) -> None:
        """Wait until another one is answered, for at most some seconds. Raises DeadlineExceeded: there is no time."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"there was no room for an image until the deadline{self._progress}")
        self._change.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), min(seconds, left))

    @property
    def _progress(self) -> str:
        if not self._n_answered:
            return ""
        return f"; {self._n_answered} of {self._n_images} images were answered: send it again, or fewer at a time"


class Fetching:
    """Fetches images by URL; `fetcher` replaces that of the settings, `shares` bounds the bytes in memory."""

    def __init__(self, settings: Settings, fetcher: UrlFetcher | None, shares: Shares | None) -> None:
        self._settings = settings
        self._shares = shares
        if fetcher is None and settings.takes_urls:
            resolve, own, to_public = SystemResolver(MAX_LOOKUPS), settings.own_hosts, settings.fetches_publicly
            hosts = HostGuard(FIELD, resolve, setting="LEXISEG_URL_NETWORKS", own=own, to_public=to_public)
            fetcher = UrlFetcher(settings.limits.max_image_bytes, hosts)
        self._fetcher = fetcher

    async def fetch(self, url: str, client: str) -> bytes:
        """The image at a URL; its bytes are counted until the current task ends."""
        return await self.counted(client, partial(self.fetch_uncounted, url, client))

    async def fetch_uncounted(self, url: str, client: str) -> bytes:
        """The image at a URL, for what is given to `counted`; raises as `fetch`."""
        if self._fetcher is None:
            raise UrlFetchOff(
                "image.url: LEXISEG_URL_NETWORKS names no host, so no image is fetched by URL; send the file itself"
            )
        return await self._fetcher.fetch(url, client)

    async def counted(self, client: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """The result of `fetch`; its bytes are counted until the current task ends."""
        if self._shares is None:
            return await fetch()
        # The size is unknown until the image is complete, so the maximum is reserved first.
        expected = self._settings.limits.max_image_bytes
        hold = await self._shares.wait(client, expected, self._settings.deadline_seconds, _FIRST_HOLD.get())
        if (first := _FIRST_HOLD.get()) is None or not first.amount:
            _FIRST_HOLD.set(hold)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: hold.release())
        size = 0
        try:
            content = await fetch()
            size = len(content)
            return content
        finally:
            hold.reduce_to(size)
