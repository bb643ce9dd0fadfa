"""Large requests are parsed in one thread, so that other requests go on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lexiseg_service.question.validation import MAX_BYTES_ON_EVENT_LOOP, off_event_loop


@pytest.mark.parametrize(("n_bytes", "here"), [(MAX_BYTES_ON_EVENT_LOOP, True), (MAX_BYTES_ON_EVENT_LOOP + 1, False)])
async def test_large_work_runs_in_a_thread(n_bytes: int, here: bool) -> None:
    ran_in = await off_event_loop(n_bytes, threading.current_thread)

    assert (ran_in is threading.current_thread()) is here


async def test_small_work_passes_large_work_that_waits_for_the_thread() -> None:
    may_go_on = threading.Event()
    large = [asyncio.ensure_future(off_event_loop(2**20, may_go_on.wait)) for _ in range(2)]
    await asyncio.sleep(0)

    assert await off_event_loop(10, lambda: "small") == "small"

    may_go_on.set()
    assert await asyncio.gather(*large) == [True] * len(large)


async def test_large_work_of_all_callers_shares_one_thread() -> None:
    ran_in = await asyncio.gather(*(off_event_loop(2**20, threading.current_thread) for _ in range(3)))

    assert len(set(ran_in)) == 1
