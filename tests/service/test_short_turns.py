"""Turns on a core that the event loop's thread asks for."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lexiseg_model.kernel.aside import aside
from lexiseg_service.short_turns import NUMBERS, ORDINARY, TURN, Attributes, take_short_turns
from lexiseg_service.worker.threads.fair import FairThreads
from tests.service.worker.gated_colours import SOON

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in NUMBERS, reason="there are no such turns"
)
LISTENS_SINCE = (6, 12)


def attributes() -> Attributes:
    """Of the calling thread."""
    now = Attributes()
    number = NUMBERS[platform.machine()] + 1  # sched_getattr is the next call on both
    assert ctypes.CDLL(None).syscall(number, 0, ctypes.byref(now), ctypes.sizeof(now), 0) == 0
    return now


def asked() -> tuple[Attributes, bool, Attributes, Attributes]:
    """On a thread of its own: before, whether they were taken, after, and of a thread that it began."""
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        before, taken = first.submit(attributes).result(), first.submit(take_short_turns).result()
        child = first.submit(lambda: second.submit(attributes)).result().result()
        return before, taken, first.submit(attributes).result(), child


def test_a_thread_asks_for_itself_alone_and_stays_what_it_was() -> None:
    if os.sched_getscheduler(0) != ORDINARY:
        pytest.skip("the tests themselves are run by another policy")

    before, taken, after, child = asked()

    assert taken
    assert (after.policy, after.niceness) == (before.policy, before.niceness)
    assert child.turn == before.turn


def require_turns() -> None:
    if os.sched_getscheduler(0) != ORDINARY or tuple(map(int, platform.release().split(".")[:2])) < LISTENS_SINCE:
        pytest.skip("this system has one length of turns")


def test_linux_listens() -> None:
    require_turns()

    _, _, after, _ = asked()

    assert after.turn == TURN


def test_a_stage_has_short_turns_and_so_has_what_computes_beside_it() -> None:
    require_turns()
    threads, heard = FairThreads("test", 1), Future[tuple[int, int]]()

    threads.submit("x", lambda: heard.set_result((attributes().turn, aside(attributes).turn)))

    assert heard.result(SOON) == (TURN, TURN)
    threads.close()


def test_other_systems_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "sparc")

    assert not take_short_turns()


def test_who_runs_by_another_policy_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_FIFO)

    assert not take_short_turns()
