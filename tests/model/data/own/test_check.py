"""Faults are told all at once and before anything is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.own.check import check
from lexiseg_model.data.own.folders import read_folders
from lexiseg_model.errors import DatasetError
from tests.model.data.own.made import folders, noise, save


def test_sound_pictures_raise_no_warning(tmp_path: Path) -> None:
    checked = check(read_folders(folders(tmp_path)))

    assert (len(checked.train), checked.held_out, checked.warnings) == (8, (), ())
    assert [sorted(entry.values) for entry in checked.train[:2]] == [[0, 1], [0, 2]]


def test_every_faulty_picture_is_named_at_once(tmp_path: Path) -> None:
    folders(tmp_path)
    save(tmp_path, "1", noise(1), np.zeros((24, 30), np.uint8))
    save(tmp_path, "2", noise(2), np.full((24, 32), 9, np.uint8))
    save(tmp_path, "3", noise(3), np.zeros((24, 32, 3), np.uint8))
    (tmp_path / "images" / "4.jpg").write_bytes(b"nothing")

    with pytest.raises(DatasetError) as raised:
        check(read_folders(tmp_path))

    message = str(raised.value)
    assert message.startswith("4 of the pictures are faulty:")
    assert "1.jpg: its mask is 30 x 24, itself 32 x 24" in message
    assert "2.jpg: its mask holds [9]; the list has 0 to 2, 255 is ignored" in message
    assert "3.png is RGB" in message
    assert "4.jpg cannot be read as a photograph" in message


def test_a_photograph_in_both_parts_is_measured_on_in_neither(tmp_path: Path) -> None:
    folders(tmp_path / "train")
    folders(tmp_path / "val", 2)
    for number in (0, 1):
        save(tmp_path / "val", f"{number}", noise(20 + number), np.ones((24, 32), np.uint8))
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        shutil.copy(tmp_path / "train" / kind / f"5.{suffix}", tmp_path / "val" / kind / f"other.{suffix}")
    shutil.move(tmp_path / "train" / "classes.json", tmp_path)

    checked = check(read_folders(tmp_path))

    assert (len(checked.train), len(checked.held_out)) == (8, 2)
    assert checked.warnings == ("1 photographs are there twice, as other.jpg: each is taken once",)


def test_a_class_that_nobody_shows_is_told(tmp_path: Path) -> None:
    checked = check(read_folders(folders(tmp_path, classes=["background", "cat", "dog", "bird"])))

    assert checked.warnings == ("no photograph shows bird: nothing is learned of it",)


def test_few_photographs_are_told(tmp_path: Path) -> None:
    assert check(read_folders(folders(tmp_path, 4))).warnings == ("4 photographs are few; twenty are a beginning",)
