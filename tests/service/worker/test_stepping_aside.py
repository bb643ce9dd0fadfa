"""Threads that compute, and how nice they are."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from lexiseg_service.worker.stepping_aside import NICER, NICEST, step_aside
from lexiseg_service.worker.threads import FairThreads
from tests.service.worker.gated_colours import SOON

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="one niceness for all threads")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture
def own() -> int:
    """Of the process; what is nice already can hardly become nicer."""
    nice = os.getpriority(os.PRIO_PROCESS, os.getpid())
    return nice if nice + NICEST <= 19 else pytest.skip("the tests themselves are run at the lowest priority")


def test_threads_of_a_stage_step_aside_and_nobody_else(own: int) -> None:
    threads, heard = FairThreads("test", 1), Future[int]()

    threads.submit("x", lambda: heard.set_result(niceness()))

    assert heard.result(SOON) == own + NICEST > own + NICER
    assert niceness() == own
    threads.close()


def test_a_thread_that_such_a_thread_begins_steps_no_further_aside(own: int) -> None:
    heard = Future[int]()

    def begin() -> None:
        step_aside()
        heard.set_result(niceness())

    def begin_another() -> None:
        step_aside()
        threading.Thread(target=begin).start()

    first = threading.Thread(target=begin_another)
    first.start()

    assert heard.result(SOON) == own + NICER
    first.join(SOON)


def test_where_it_is_forbidden_a_thread_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)

    step_aside()


def test_the_system_shows_the_name_of_a_thread() -> None:
    threads, heard = FairThreads("decoding", 1), Future[str]()

    def name() -> str:
        return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip()

    before = name()
    threads.submit("x", lambda: heard.set_result(name()))

    assert heard.result(SOON) == "decoding_0"
    assert name() == before
    threads.close()
