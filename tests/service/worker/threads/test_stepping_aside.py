"""Threads that compute, and how nice they are."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest

from lexiseg_model.kernel import library
from lexiseg_model.kernel.aside import aside
from lexiseg_service.niceness import NICER, NICEST, step_aside
from lexiseg_service.worker.threads.fair import FairThreads
from lexiseg_service.worker.threads.stepping_aside import compute_aside
from tests.kernel import require_kernel
from tests.service.worker.gated_colours import SOON

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="one niceness for all threads")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture
def own() -> int:
    """Of the process; what is nice already can hardly become nicer."""
    nice = os.getpriority(os.PRIO_PROCESS, os.getpid())
    return nice if nice + NICEST <= 19 else pytest.skip("the tests themselves are run at the lowest priority")


def nicenesses(name: str) -> list[int]:
    """Of the threads that the system shows under a name."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # another one that ends meanwhile
            if (task / "comm").read_text().strip() == name:
                found.append(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    return sorted(found)


def test_what_computes_for_a_stage_is_nice_and_its_threads_are_not(own: int) -> None:
    threads, heard = FairThreads("test", 1), Future[tuple[int, int]]()

    threads.submit("x", lambda: heard.set_result((niceness(), aside(niceness))))

    assert heard.result(SOON) == (own, own + NICEST)
    assert NICEST > NICER
    assert niceness() == own
    threads.close()


def test_the_kernel_and_other_libraries_have_a_nice_thread_each(own: int) -> None:
    require_kernel()
    heard = Future[list[int]]()

    def begin() -> None:
        compute_aside(NICER)
        aside(niceness)
        library.call("prompts_fit")
        heard.set_result(nicenesses("beside"))

    thread = threading.Thread(target=begin, name="beside")
    thread.start()

    assert heard.result(SOON) == [own, own + NICER, own + NICER]
    thread.join(SOON)


def test_what_prepares_a_thread_prepares_what_computes_beside_it() -> None:
    prepared, heard = list[int](), Future[int]()

    def begin() -> None:
        compute_aside(NICER, lambda: prepared.append(threading.get_ident()))
        heard.set_result(aside(threading.get_ident))

    thread = threading.Thread(target=begin)
    thread.start()

    assert prepared == [thread.ident, heard.result(SOON)]
    thread.join(SOON)


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
