"""Large requests are parsed in one bounded pool, so that other requests go on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lexiseg_service.question.validation import MAX_BYTES_ON_EVENT_LOOP, MAX_THREADS, ParsePool


@pytest.mark.parametrize(("n_bytes", "here"), [(MAX_BYTES_ON_EVENT_LOOP, True), (MAX_BYTES_ON_EVENT_LOOP + 1, False)])
async def test_large_work_runs_in_a_thread(n_bytes: int, here: bool) -> None:
    pool = ParsePool()

    ran_in = await pool.run(n_bytes, threading.current_thread)

    assert (ran_in is threading.current_thread()) is here
    pool.close()


async def test_small_work_passes_large_work_that_waits_for_a_thread() -> None:
    pool, may_go_on = ParsePool(), threading.Event()
    large = [asyncio.ensure_future(pool.run(2**20, may_go_on.wait)) for _ in range(MAX_THREADS + 1)]
    await asyncio.sleep(0)

    assert await pool.run(10, lambda: "small") == "small"

    may_go_on.set()
    assert await asyncio.gather(*large) == [True] * len(large)
    pool.close()
