"""What is handed to a thread beside the calling one."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

import pytest

from lexiseg_model.kernel.aside import aside, go_aside

T = TypeVar("T")
SOON = 30.0  # seconds
WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def beside(work: Callable[[], T], begin: Callable[[], object] = lambda: None) -> T:
    """On a thread that has one beside it."""
    with ThreadPoolExecutor(1, initializer=lambda: go_aside(begin)) as thread:
        return thread.submit(work).result(SOON)


def test_without_a_thread_beside_it_is_done_here() -> None:
    assert aside(threading.get_ident) == threading.get_ident()


def test_it_is_done_by_one_other_thread_that_began_as_it_should() -> None:
    begun: list[int] = []

    here, first, second = beside(
        lambda: (threading.get_ident(), aside(threading.get_ident), aside(threading.get_ident)),
        lambda: begun.append(threading.get_ident()),
    )

    assert begun == [first]
    assert first == second != here


def test_arguments_and_results_go_through() -> None:
    assert beside(lambda: aside(divmod, 17, 5)) == (3, 2)
    assert beside(lambda: aside(sorted, [1, 3, 2], reverse=True)) == [3, 2, 1]


def test_an_error_is_the_callers_and_the_next_is_done() -> None:
    def ask() -> int:
        with pytest.raises(ZeroDivisionError):
            aside(divmod, 1, 0)
        return aside(abs, -1)

    assert beside(ask) == 1


def test_the_context_goes_along() -> None:
    def ask() -> str:
        WHO.set("somebody")
        return aside(WHO.get)

    assert beside(ask) == "somebody"


def test_nothing_of_it_stays() -> None:
    class Thing:
        def fail(self) -> None:
            raise LookupError("nothing")

    def ask() -> tuple[weakref.ref[Thing], weakref.ref[Thing]]:
        done, failed = Thing(), Thing()
        aside(repr, done)
        with pytest.raises(LookupError):
            aside(failed.fail)
        references = weakref.ref(done), weakref.ref(failed)
        del done, failed
        aside(repr, None)  # whatever was before this is over
        return references

    def without_collector() -> list[Thing | None]:
        gc.disable()
        try:
            return [reference() for reference in ask()]
        finally:
            gc.enable()

    assert beside(without_collector) == [None, None]


def test_a_beginning_that_fails_is_told_and_nobody_is_beside() -> None:
    def ask() -> tuple[int, int]:
        with pytest.raises(LookupError):
            go_aside({}.popitem)
        return threading.get_ident(), aside(threading.get_ident)

    with ThreadPoolExecutor(1) as thread:
        here, there = thread.submit(ask).result(SOON)

    assert here == there


def test_where_there_are_no_more_threads_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def ask() -> tuple[int, int]:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        go_aside(lambda: None)
        return threading.get_ident(), aside(threading.get_ident)

    with ThreadPoolExecutor(1) as thread:
        here, there = thread.submit(ask).result(SOON)

    assert here == there


def test_the_thread_beside_ends_with_its_own() -> None:
    other = beside(lambda: aside(threading.current_thread))

    other.join(SOON)

    assert not other.is_alive()
