"""What is large has turns: of clients, one at a time, and none for a while; who comes alone waits for nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest

from lexiseg_model.kernel.aside import aside
from lexiseg_service.gateway.turns import (
    PAUSE,
    REST,
    SHORT,
    Clients,
    Lane,
    OneARound,
    OneAtATime,
    OneByOne,
    OneInAWhile,
    Turns,
)
from lexiseg_service.niceness import NICEST

SOON = 10.0  # seconds


def note(seen: list[str], name: str, turn: asyncio.Future[None]) -> None:
    seen.append(name)


def later_at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is to be done later is done at once; the list says how much later it was to be."""
    loop, asked = asyncio.get_running_loop(), list[float]()

    def soon(seconds: float, work: Callable[[], object]) -> None:
        asked.append(seconds)
        loop.call_soon(work)

    monkeypatch.setattr(loop, "call_later", soon)
    return asked


async def test_clients_have_turns_and_each_keeps_its_order() -> None:
    clients, seen = Clients(), list[str]()
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        clients.add(name[0]).add_done_callback(partial(note, seen, name))
    given_up = clients.add("c")
    given_up.cancel()

    while clients.let_in():
        await asyncio.sleep(0)

    assert seen == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert not clients


async def test_one_at_a_time_and_a_rest_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    rests = later_at_once(monkeypatch)
    turns, inside, most = OneAtATime(), 0, 0

    async def one(client: str) -> None:
        nonlocal inside, most
        async with turns.of(client):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one(client) for client in "aabb"))

    assert most == 1
    assert [rest > 0 for rest in rests] == [True, True, True, False]


async def let_through(turns: OneAtATime) -> None:
    async with turns.of("a"):
        pass


async def test_who_gives_up_waiting_keeps_nobody_out() -> None:
    turns = OneAtATime()

    async with asyncio.timeout(SOON):
        async with turns.of("a"):
            waiting = asyncio.ensure_future(let_through(turns))
            await asyncio.sleep(0)
            waiting.cancel()
        await let_through(turns)


async def test_in_the_moment_of_its_turn_too() -> None:
    turns = OneAtATime()

    async with asyncio.timeout(SOON):
        async with turns.of("a"):
            waiting = asyncio.ensure_future(let_through(turns))
            await asyncio.sleep(0)
        while not turns._line._busy or turns._line._clients:
            await asyncio.sleep(0)
        waiting.cancel()
        await let_through(turns)


async def test_from_step_to_step_there_is_a_while_also_for_who_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whiles = later_at_once(monkeypatch)
    steps, loop = OneInAWhile(), asyncio.get_running_loop()
    passed = loop.time()
    monkeypatch.setattr(loop, "time", lambda: passed)

    async with asyncio.timeout(SOON):
        await steps.of("a")
        await steps.of("a")
        passed += 1.0  # that the loop took for the second
        await steps.of("a")

    assert whiles == [PAUSE, REST * 1.0]


async def test_one_step_a_round_and_after_a_long_one_a_rest_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    rests = later_at_once(monkeypatch)
    steps, loop, seen = OneARound(), asyncio.get_running_loop(), list[str]()
    passed = loop.time()
    monkeypatch.setattr(loop, "time", lambda: passed)

    async def step(client: str, took: float) -> None:
        nonlocal passed
        await steps.of(client)
        passed += took
        seen.append(client)

    async with asyncio.timeout(SOON):
        await asyncio.gather(step("a", 1.0), step("a", 0.5 * SHORT), step("b", 2.0), step("a", 1.0))

    assert seen == ["a", "a", "b", "a"]
    assert rests == [1.0, 0.0, 2.0, 0.0]


async def test_pieces_pause_only_while_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = later_at_once(monkeypatch)
    pieces, seen = OneByOne(), list[str]()

    async def read(client: str) -> None:
        for _ in range(3):
            await pieces.of(client)
            seen.append(client)

    async with asyncio.timeout(SOON):
        await read("a")
        alone = pauses.copy()
        seen.clear()
        await asyncio.gather(read("a"), read("b"), read("c"))

    assert not any(alone)
    assert PAUSE in pauses
    assert set(seen[:4]) == set("abc")
    assert sorted(seen) == list("aaabbbccc")


@pytest.mark.parametrize(
    ("passing", "elsewhere", "expected"), [(None, 0, False), ("b", 0, False), ("d", 0, True), (None, 1, True)]
)
async def test_large_ones_pause_for_small_ones_of_others_alone(
    monkeypatch: pytest.MonkeyPatch, passing: str | None, elsewhere: int, expected: bool
) -> None:
    pauses = later_at_once(monkeypatch)
    turns = Turns(lambda: elsewhere)

    async def read(client: str) -> None:
        for _ in range(3):
            await turns.pieces.of(client)

    async def parse(lane: Lane, client: str) -> None:
        await lane.done(client, lambda: None)

    def paused() -> bool:
        pausing = any(pauses)
        pauses.clear()
        return pausing

    async with asyncio.timeout(SOON):
        with nullcontext() if passing is None else turns.passing(passing):
            # each client more often than once: of a client that has nothing more to come nobody knows any more
            await asyncio.gather(*(read(client) for client in "abab"))
            pieces = paused()
            await asyncio.gather(*(parse(turns.large, client) for client in "abababab"))
            parsed = paused()
        assert not turns._passing

    assert (pieces, parsed) == (expected, expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere threads do not differ in niceness")
async def test_what_takes_a_lane_long_is_done_by_a_nice_thread() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here, beside = await Lane().done("a", lambda: (niceness(), aside(niceness)))

    assert (here, beside) == (niceness(), min(19, niceness() + NICEST))
