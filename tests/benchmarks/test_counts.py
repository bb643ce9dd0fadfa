"""Count the work of fixed answers, report what grew by more than 15 percent, and choose boxes that show a class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.by_pictures.examples import boxes_by_class, draw_examples
from benchmarks.counters import count_calls, count_tensor_work
from benchmarks.counts import BASELINE, regressions
from lexiseg_train.data.indexed import IndexedDataset, read_dataset


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


SIDE = 40


@pytest.fixture
def data(tmp_path: Path) -> IndexedDataset:
    """Three photographs with a large square and a small one, and one with a cross, which fills little of its box."""
    for folder in ("images", "masks"):
        (tmp_path / "set" / "train" / folder).mkdir(parents=True)
    (tmp_path / "set" / "classes.json").write_text('["background", "square"]')
    for number in range(4):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if number:
            mask[4:24, 6:26] = 1
            mask[30:34, 30:36] = 1
        else:
            mask[19:22, 4:36] = mask[4:36, 19:22] = 1
        Image.fromarray(mask).save(tmp_path / "set" / "train" / "masks" / f"{number}.png")
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "set" / "train" / "images" / f"{number}.jpg")
    return read_dataset(tmp_path, "set", "train")


def test_large_objects_that_fill_their_box_come_first_one_of_a_photograph(data: IndexedDataset) -> None:
    (boxes,) = draw_examples(boxes_by_class(data), 3, seed=0).values()

    assert [shown.box for shown in boxes] == [(6.0, 4.0, 26.0, 24.0)] * 3
    assert len({shown.sample for shown in boxes}) == 3


def test_what_fills_little_is_shown_where_there_is_nothing_else(data: IndexedDataset) -> None:
    (boxes,) = draw_examples(boxes_by_class(data), 9, seed=0).values()

    assert len({shown.sample for shown in boxes}) == 4
    assert boxes[-1].rank == (False, True)
