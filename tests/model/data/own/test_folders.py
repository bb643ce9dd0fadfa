"""Photographs with index masks, as they lie on somebody's disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.data.own.folders import read_folders
from lexiseg_model.errors import DatasetError
from tests.model.data.own.made import folders, noise, save


def test_a_flat_folder_is_all_for_learning(tmp_path: Path) -> None:
    pictures = read_folders(folders(tmp_path))

    assert (len(pictures.train), pictures.held_out) == (8, ())
    assert pictures.named == {1: "cat", 2: "dog"}
    assert pictures.train[1].read_mask()[0].tolist() == [2] * 16 + [0] * 16


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_part_for_validation_is_held_out(name: str, tmp_path: Path) -> None:
    folders(tmp_path / "train", 5)
    folders(tmp_path / name, 3)
    shutil.move(tmp_path / "train" / "classes.json", tmp_path)

    pictures = read_folders(tmp_path)

    assert (len(pictures.train), len(pictures.held_out)) == (5, 3)


def test_a_photograph_that_was_taken_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    folders(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(noise(9)).save(tmp_path / "images" / "0.jpg", exif=exif)

    assert read_folders(tmp_path).train[0].read_image().shape == (32, 24, 3)


def test_photographs_without_masks_are_counted_and_named(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "masks" / "3.png").unlink()

    with pytest.raises(
        DatasetError, match=r"1 of 8 photographs of .* have no mask, as 3\.jpg: expected .*masks/3\.png"
    ):
        read_folders(tmp_path)


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (np.zeros((24, 32, 3), np.uint8), r"RGB, uint8 \[24, 32, 3\]"),
        (np.zeros((24, 32), np.uint16), r"I;16, uint16 \[24, 32\]"),
    ],
)
def test_a_mask_of_another_kind_is_refused(mask: np.ndarray, kind: str, tmp_path: Path) -> None:
    folders(tmp_path)
    save(tmp_path, "2", noise(2), mask)

    with pytest.raises(DatasetError, match=rf"2\.png is {kind}; expected one channel of 8 bits"):
        read_folders(tmp_path).train[2].read_mask()


@pytest.mark.parametrize("classes", [["cat", "background"], ["cat", "cat"], ["background"], [], {"cat": 1}, [1]])
def test_a_list_of_classes_that_is_none_is_refused(classes: object, tmp_path: Path) -> None:
    folders(tmp_path, 1)
    (tmp_path / "classes.json").write_text(json.dumps(classes))

    with pytest.raises(DatasetError, match=r"classes\.json: expected "):
        read_folders(tmp_path)
