"""Calls of the kernel by a thread beside the one that makes them."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from lexiseg_model.kernel import library
from lexiseg_model.kernel.specks import tidy

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nobody is beside")
T = TypeVar("T")
PARAMETER = re.compile(r"(?:const )?(?P<type>\w+) (?P<pointer>\*?)\w+")
MOST_WHOLE, MOST_REAL = 24, 8  # as in aside.c


def on_a_thread(work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def beside(work: Callable[[], T]) -> T:
    def go_aside() -> T:
        assert library.go_aside(os.getpriority(os.PRIO_PROCESS, 0))
        return work()

    return on_a_thread(go_aside)


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def test_numbers_of_both_kinds_and_arrays_arrive() -> None:
    logits = np.zeros((5, 30, 40), np.float32)
    logits[0], logits[1, 3, 3], logits[2, 20, :8] = 1, 2, 2  # of two specks the smaller is too small

    def tidied() -> tuple[int, bytes]:
        own = logits.copy()
        return tidy(own, 4, (0.0, 0.5, 0.001), 10_000), own.tobytes()

    exchanged, here = tidied()

    assert exchanged == 1
    assert beside(tidied) == (exchanged, here)


def test_more_arguments_than_there_are_registers_arrive() -> None:
    scores = np.random.default_rng(0).random((3, 8, 8), np.float32)
    axis = (np.repeat(np.arange(7), 4), np.tile(np.linspace(0, 0.75, 4, dtype=np.float32), 7), 28)

    def labels() -> bytes:
        made, votes = np.zeros((28, 28), np.uint8), np.zeros(3)
        library.call("winners", scores, 3, 8, 8, *axis, *axis, made, 0, None, votes)
        return made.tobytes() + votes.tobytes()

    assert beside(labels) == labels()


def test_memory_that_cannot_be_had_is_a_memory_error() -> None:
    scores, nothing = np.zeros((1, 1, 1), np.float32), np.zeros(1, np.int64)
    axis = (nothing, np.zeros(1, np.float32), 1)

    def ask() -> None:
        library.call("winners", scores, 1, 1 << 28, 1 << 28, *axis, *axis, np.zeros(1, np.uint8), 0, None, np.zeros(1))

    with pytest.raises(MemoryError, match="winners"):
        beside(ask)


def test_every_function_can_be_called_so() -> None:
    for source in library.FOLDER.glob("*.c"):
        for name, given in re.findall(r"^API int64_t lexiseg_(\w+)\(([^)]*)\)", source.read_text(), re.MULTILINE):
            if name in ("go_aside", "call_aside") or given == "void":
                continue
            kinds = [PARAMETER.fullmatch(" ".join(each.split())) for each in given.split(",")]
            assert all(kinds), f"{name}: {given}"
            real = sum(kind["type"] == "double" and not kind["pointer"] for kind in kinds if kind)
            whole = sum(bool(kind["pointer"]) or kind["type"] == "int64_t" for kind in kinds if kind)
            assert real + whole == len(kinds), f"{name} takes numbers of another kind"
            assert real <= MOST_REAL, name
            assert whole <= MOST_WHOLE, name


def test_a_thread_has_one_beside_it_of_the_niceness_that_was_asked_for_and_stays_as_it_is() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    if own == 19:
        pytest.skip("nothing is nicer")

    def nicenesses() -> tuple[int, list[int]]:
        before = threads()
        assert library.go_aside(own + 1)
        assert library.go_aside(own + 1)
        library.call("prompts_fit")
        here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return here, [os.getpriority(os.PRIO_PROCESS, int(each)) for each in threads() - before]

    assert on_a_thread(nicenesses) == (own, [own + 1])


def test_the_thread_beside_ends_with_its_own() -> None:
    def go_aside() -> set[str]:
        before = threads()
        library.go_aside(os.getpriority(os.PRIO_PROCESS, 0))
        return threads() - before

    (made,) = on_a_thread(go_aside)

    while Path(f"/proc/self/task/{made}").exists():  # it is told, and goes when it has a core
        pass


def test_without_a_kernel_nobody_is_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", None)

    assert not on_a_thread(lambda: library.go_aside(0))
