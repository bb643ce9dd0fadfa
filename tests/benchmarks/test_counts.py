"""Counts that `make bench` compares: the same for the same work, more for more, and a loss is said."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from benchmarks import kernel_calls
from benchmarks.counting import calls, parsed, tensor_work
from benchmarks.counts import BASELINE, losses
from lexiseg_model.kernel import cell_scores, library
from tests.kernel import require_kernel


def products(n: int) -> torch.Tensor:
    total = torch.zeros(8)
    for _ in range(n):
        total = total * 2
    return total


def test_tensor_operations_and_what_they_write_are_counted() -> None:
    less, more = tensor_work(lambda: products(3)), tensor_work(lambda: products(5))

    assert (more.operations - less.operations, more.elements - less.elements) == (2, 16)


def test_calls_are_those_of_the_work_alone() -> None:
    def twice() -> None:
        np.zeros(3)
        np.zeros(3)

    def once() -> None:
        np.zeros(3)

    nothing = calls(lambda: None)

    assert calls(twice) - nothing == 2 * (calls(once) - nothing) > 0


def test_what_a_first_run_fills_does_not_count() -> None:
    kept: list[int] = []

    def work() -> None:
        if not kept:
            kept.extend(max(number, 0) for number in range(100))

    assert calls(work) < 10


@pytest.mark.parametrize(("count", "lost"), [(50, False), (114, False), (115, False), (116, True)])
def test_more_than_15_percent_over_the_baseline_is_a_loss(count: int, lost: bool) -> None:
    said = losses({"a click": count, "new": 10**9}, {"a click": 100})

    assert said == ([f"a click: {count} against 100"] if lost else [])


def test_the_baseline_counts_every_answer_in_three_ways() -> None:
    baseline = json.loads(BASELINE.read_text())

    names = {name.rpartition(": ")[0] for name in baseline["counts"]}
    ways = {name.rpartition(": ")[2] for name in baseline["counts"]}
    assert {"image pass", "20 classes", "instances", "a later click", "16 clicks", "proposals"} == names
    assert ways == {"tensor operations", "numbers written", "calls"}
    assert len(baseline["counts"]) == len(names) * len(ways)


def test_what_callgrind_runs_calls_every_function_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    require_kernel()
    called = set()
    to_the_kernel = library.call

    def call(name: str, *arguments: object) -> int:
        called.add(name)
        return to_the_kernel(name, *arguments)  # type: ignore[arg-type]

    own = {"__init__", "aside", "axes", "library"}
    for module in {path.stem for path in library.FOLDER.glob("*.py")} - own:
        monkeypatch.setattr(f"lexiseg_model.kernel.{module}.call", call)
    cell_scores._fits.cache_clear()

    kernel_calls.run()

    sources = "".join(path.read_text() for path in library.FOLDER.glob("*.c"))
    not_called = {
        *("kernel_version", "go_aside", "call_aside"),
        *(() if cell_scores.fit(16) else ("cell_scores",)),
    }
    assert called == set(re.findall(r"^API int64_t lexiseg_(\w+)", sources, re.MULTILINE)) - not_called


def test_instructions_are_read_by_function_whatever_the_processors_variant() -> None:
    listing = """
  3,409,520 ( 0.34%)  ???:contest.avx2 [/x/kernel/_kernel.abi3.so]
    100,000 ( 0.01%)  ???:contest [/x/kernel/_kernel.abi3.so]
  5,592,199 ( 0.55%)  ???:0x0000000000006250 [/usr/lib/libffi.so.8.1.2]
        298 ( 0.00%)  ???:get_available_features.constprop.0 [/x/kernel/_kernel.abi3.so]
  9,000,000 ( 0.90%)  /x/Python/ceval.c:_PyEval_EvalFrameDefault [/usr/bin/python3.11]
"""

    assert parsed(listing) == {"contest": 3_509_520, "entry points": 5_592_199}
