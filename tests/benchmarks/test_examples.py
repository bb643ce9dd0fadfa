"""Choosing boxes of training photographs that show a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.examples import boxes_by_class, draw_examples
from lexiseg_model.data.indexed import IndexedDataset, read_dataset

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
