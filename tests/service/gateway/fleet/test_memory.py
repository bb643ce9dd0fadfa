"""A request that workers refuse is gone with its error: its image does not wait for the collector."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from lexiseg_service.errors import DeadlineExceeded, ImageExpired, NotReady, QueueFull, ServiceError
from lexiseg_service.question.messages import WorkerRequest
from tests.service.gateway.fleet.workers import Fleet, Someone, question, started


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def left_of(fleet: Fleet, request: WorkerRequest, kind: type[ServiceError]) -> weakref.ref[WorkerRequest]:
    """A request that has failed, if anybody still holds it."""
    with pytest.raises(kind) as caught:
        await fleet.backend.segment(request)
    del caught
    return weakref.ref(request)


async def gone(left: weakref.ref[WorkerRequest]) -> bool:
    """A task that has just ended may hold it for another turn of the loop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while left() is not None:
                await asyncio.sleep(0.01)
    return left() is None


@pytest.mark.parametrize(
    ("failure", "ask"),
    [
        (QueueFull("full", 1), question),
        (ImageExpired("gone"), lambda: question(None, image_id="abc")),
        (NotReady("loading"), lambda: question(None, image_id="abc")),
    ],
)
async def test_what_every_worker_refuses_is_gone(failure: ServiceError, ask: Callable[[], WorkerRequest]) -> None:
    async with started(Someone(failure=failure), Someone(failure=failure)) as fleet:
        assert await gone(await left_of(fleet, ask(), type(failure)))


async def test_what_comes_too_late_is_gone() -> None:
    async with started(Someone(held=asyncio.Event())) as fleet:
        left = await left_of(fleet, question(deadline=time.monotonic() + 0.2), DeadlineExceeded)

        assert await gone(left)


async def test_what_a_worker_took_with_it_is_gone() -> None:
    async with started(Someone(held=asyncio.Event())) as fleet:
        asking: Awaitable[weakref.ref[WorkerRequest]] = asyncio.create_task(left_of(fleet, question(), NotReady))
        await fleet.until(lambda: bool(fleet.workers[0].asked))
        await fleet.end(0)

        assert await gone(await asking)
