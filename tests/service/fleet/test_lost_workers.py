"""Requests of workers that die, fall silent or drain are answered by others."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from lexiseg_service.errors import ImageExpired, NotReady
from lexiseg_service.fleet import links
from lexiseg_service.image.reader import image_id_of
from tests.service.fleet.workers import IMAGES, Someone, Wire, asked_images, looking, question, started

STOOD_STILL = 2.5  # seconds; the machine of the tests itself does so for one now and then


async def test_the_cached_images_of_a_dead_worker_are_expired() -> None:
    first, second = Someone(held=True), Someone(failure=ImageExpired("gone"))
    async with started(first, second) as fleet:
        asking = [
            asyncio.ensure_future(fleet.backend.segment(question(None, image_id=image_id_of(image))))
            for image in IMAGES
        ]
        await fleet.until(lambda: len(first.asked) == len(IMAGES))
        await fleet.end(0)
        heard = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(error) for error in heard} == {ImageExpired}


async def test_work_of_a_worker_that_dies_is_done_by_another() -> None:
    first, second = Someone(held=True), Someone()
    async with started(first, second) as fleet:
        asking = [asyncio.ensure_future(fleet.backend.segment(question(image))) for image in IMAGES[:16]]
        await fleet.until(lambda: len(first.asked) + len(second.asked) == 16)
        await fleet.end(0)
        answers = await asyncio.gather(*asking)
        await fleet.ready(1)

    assert len(answers) == 16
    assert first.asked
    assert asked_images(second) == set(IMAGES[:16])


async def test_a_draining_worker_gets_no_new_calls_and_finishes_its_own() -> None:
    first, second = Someone(held=True), Someone(held=True)
    async with started(first, second) as fleet:
        asking = [asyncio.ensure_future(fleet.backend.segment(question(image))) for image in IMAGES[:16]]
        await fleet.until(lambda: len(first.asked) + len(second.asked) == 16)
        had = len(first.asked)
        fleet.servers[0].leave()
        await fleet.ready(1)
        asking += [asyncio.ensure_future(fleet.backend.segment(question(image))) for image in IMAGES[16:]]
        await fleet.until(lambda: len(first.asked) + len(second.asked) == len(IMAGES))
        for worker in (first, second):
            worker.gate.set()
        answers = await asyncio.gather(*asking)

    assert len(answers) == len(IMAGES)
    assert len(first.asked) == had > 0  # nothing was asked twice, nothing new


async def test_calls_of_a_silent_worker_are_made_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_SILENT_SECONDS", STOOD_STILL)
    monkeypatch.setattr("lexiseg_service.wire.server.WORKER_SILENT", STOOD_STILL)
    monkeypatch.setattr("lexiseg_service.wire.server.WORKER_PING", STOOD_STILL)
    stopped, other = Someone(name="colours"), Someone(held=True)
    async with started(stopped, other) as fleet:
        wire = Wire(fleet.servers[0].port)
        async with wire.laid() as address, looking(address, f"127.0.0.1:{fleet.servers[1].port}") as backend:
            await fleet.until(lambda: backend.health().detail.startswith("2 of"))
            wire.whole.clear()
            asking = [asyncio.ensure_future(backend.segment(question(image))) for image in IMAGES[:16]]
            await fleet.until(lambda: len(other.asked) == 16)
            other.gate.set()
            answers = await asyncio.gather(*asking)
            away = backend.health()
            wire.whole.set()
            await fleet.until(lambda: backend.health().detail.startswith("2 of"))

    assert len(answers) == 16
    assert away.degraded == (f"worker {address}: does not answer",)


async def test_a_deadline_that_passes_during_a_stall_is_a_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "STALL_SECONDS", 0.8)
    async with started(Someone(held=True)) as fleet:
        wire = Wire(fleet.servers[0].port)
        async with wire.laid() as address, looking(address) as backend:
            await fleet.until(lambda: backend.health().ready)
            wire.whole.clear()
            with capture_logs() as log, pytest.raises(NotReady) as refusal:
                await backend.segment(question(deadline=time.monotonic() + 1.5))
            wire.whole.set()

    assert refusal.value.headers == {"Retry-After": "1"}
    assert [each["reason"] for each in log if each["event"] == "worker lost"] == ["stalled until the deadline"]


async def test_a_worker_that_dies_near_the_deadline_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "STALL_SECONDS", 60.0)  # the other one is not taken for one that stands still
    first, second = Someone(held=True), Someone(held=True)
    async with started(first, second) as fleet:
        deadline = time.monotonic() + 2 * STOOD_STILL
        asking = [
            asyncio.ensure_future(fleet.backend.segment(question(image, deadline=deadline))) for image in IMAGES[:12]
        ]
        await fleet.until(lambda: len(first.asked) + len(second.asked) == 12)
        had = len(first.asked)
        await fleet.end(0)
        heard = await asyncio.gather(*asking, return_exceptions=True)

    assert sum(isinstance(error, NotReady) for error in heard) == had > 0
