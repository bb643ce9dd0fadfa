"""Count the work of fixed answers, and report what grew by more than 15 percent."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.counters import count_calls, count_tensor_work
from benchmarks.counts import BASELINE, regressions


def products(n: int) -> torch.Tensor:
    total = torch.zeros(8)
    for _ in range(n):
        total = total * 2
    return total


def test_tensor_operations_and_what_they_write_are_counted() -> None:
    less, more = count_tensor_work(lambda: products(3)), count_tensor_work(lambda: products(5))

    assert (more.operations - less.operations, more.elements - less.elements) == (2, 16)


def test_calls_are_those_of_the_work_alone() -> None:
    def twice() -> None:
        np.zeros(3)
        np.zeros(3)

    def once() -> None:
        np.zeros(3)

    nothing = count_calls(lambda: None)

    assert count_calls(twice) - nothing == 2 * (count_calls(once) - nothing) > 0


@pytest.mark.parametrize(("count", "lost"), [(50, False), (114, False), (115, False), (116, True)])
def test_more_than_15_percent_over_the_baseline_is_a_loss(count: int, lost: bool) -> None:
    said = regressions({"a click": count, "new": 10**9}, {"a click": 100})

    assert said == ([f"a click: {count} against 100"] if lost else [])


def test_the_baseline_counts_every_answer_in_three_ways() -> None:
    baseline = json.loads(BASELINE.read_text())

    names = {name.rpartition(": ")[0] for name in baseline["counts"]}
    ways = {name.rpartition(": ")[2] for name in baseline["counts"]}
    assert {"image pass", "20 classes", "instances", "a later click", "16 clicks", "proposals"} == names
    assert ways == {"tensor operations", "numbers written", "calls"}
    assert len(baseline["counts"]) == len(names) * len(ways)
