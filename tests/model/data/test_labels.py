from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.data.benchmark import benchmark
from lexiseg_model.data.labels import IGNORED, UNEXPECTED, label_table, read_labels
from lexiseg_model.errors import DatasetError


def test_a_stored_value_is_the_label() -> None:
    found = benchmark("voc21")

    table = label_table(found, found.layouts[0])

    assert table[:21].tolist() == list(range(21))
    assert table[255] == IGNORED
    assert (table[21:255] == UNEXPECTED).all()


def test_where_zero_is_ignored_labels_begin_at_one() -> None:
    found = benchmark("ade20k")

    table = label_table(found, found.layouts[0])

    assert table[0] == IGNORED
    assert table[1:151].tolist() == list(range(150))
    assert table[151] == UNEXPECTED


def test_unlabelled_coco_is_background_for_objects_and_nothing_for_stuff() -> None:
    objects, stuff = benchmark("coco-object"), benchmark("coco-stuff")

    of_objects = label_table(objects, objects.layouts[1])
    of_stuff = label_table(stuff, stuff.layouts[1])

    assert (of_objects[255], of_objects[91], of_objects[0], of_objects[89]) == (0, 0, 1, 80)
    assert (of_stuff[255], of_stuff[91], of_stuff[0], of_stuff[181]) == (IGNORED, 80, 0, 170)


def test_cityscapes_ids_become_train_ids() -> None:
    found = benchmark("cityscapes")

    table = label_table(found, found.layouts[1])

    assert [int(table[value]) for value in (7, 8, 11, 33)] == [0, 1, 2, 18]
    assert {int(table[value]) for value in (0, 1, 9, 29, 255)} == {IGNORED}


def test_a_value_that_means_nothing_is_an_error(tmp_path: Path) -> None:
    found = benchmark("voc21")
    Image.fromarray(np.array([[0, 77]], np.uint8)).save(tmp_path / "odd.png")

    with pytest.raises(DatasetError, match=r"odd.png holds the values \[77\], which mean nothing"):
        read_labels(tmp_path / "odd.png", found.layouts[0], label_table(found, found.layouts[0]))


def test_a_coloured_map_is_an_error(tmp_path: Path) -> None:
    found = benchmark("voc21")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "colours.png")

    with pytest.raises(DatasetError, match=r"uint8 \[2, 2, 3\]; expected one channel"):
        read_labels(tmp_path / "colours.png", found.layouts[0], label_table(found, found.layouts[0]))


def test_a_map_of_one_channel_is_an_error_where_two_are_read(tmp_path: Path) -> None:
    found = benchmark("imagenet-s50")
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "grey.png")

    with pytest.raises(DatasetError, match="expected RGB"):
        read_labels(tmp_path / "grey.png", found.layouts[0], label_table(found, found.layouts[0]))


def test_a_file_that_is_no_image_is_an_error(tmp_path: Path) -> None:
    found = benchmark("voc21")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    with pytest.raises(DatasetError, match=r"torn.png cannot be read as an image"):
        read_labels(tmp_path / "torn.png", found.layouts[0], label_table(found, found.layouts[0]))
