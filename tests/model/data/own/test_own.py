"""A user's pictures in folders: read, checked and written as a data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.own.pictures import read_folders
from lexiseg_model.data.own.prepare import check, lay_out, prepare, read_own
from lexiseg_model.errors import DatasetError
from tests.model.data.own.made import folders, noise, save


def test_a_folder_without_splits_is_used_for_training(tmp_path: Path) -> None:
    pictures = read_folders(folders(tmp_path))

    assert (len(pictures.train), pictures.held_out) == (8, ())
    assert pictures.named == {1: "cat", 2: "dog"}
    assert pictures.train[1].read_mask()[0].tolist() == [2] * 16 + [0] * 16


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_is_held_out(name: str, tmp_path: Path) -> None:
    folders(tmp_path / "train", 5)
    folders(tmp_path / name, 3)
    shutil.move(tmp_path / "train" / "classes.json", tmp_path)

    pictures = read_folders(tmp_path)

    assert (len(pictures.train), len(pictures.held_out)) == (5, 3)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    folders(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(noise(9)).save(tmp_path / "images" / "0.jpg", exif=exif)

    assert read_folders(tmp_path).train[0].read_image().shape == (32, 24, 3)


def test_photographs_without_masks_are_counted_and_reported(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "masks" / "3.png").unlink()

    with pytest.raises(
        DatasetError, match=r"1 of 8 photographs of .* have no mask, such as 3\.jpg: expected .*masks/3\.png"
    ):
        read_folders(tmp_path)


@pytest.mark.parametrize("classes", [["cat", "background"], ["cat", "cat"], ["background"], [], {"cat": 1}, [1]])
def test_a_malformed_class_list_is_refused(classes: object, tmp_path: Path) -> None:
    folders(tmp_path, 1)
    (tmp_path / "classes.json").write_text(json.dumps(classes))

    with pytest.raises(DatasetError, match=r"classes\.json: "):
        read_folders(tmp_path)


def test_all_faulty_pictures_are_reported_together(tmp_path: Path) -> None:
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
    assert "3.png: is of mode RGB; expected one channel" in message
    assert "4.jpg: cannot be read as an image" in message


def test_a_training_photograph_is_not_measured_in_validation(tmp_path: Path) -> None:
    folders(tmp_path / "train")
    folders(tmp_path / "val", 2)
    for number in (0, 1):
        save(tmp_path / "val", f"{number}", noise(20 + number), np.ones((24, 32), np.uint8))
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        shutil.copy(tmp_path / "train" / kind / f"5.{suffix}", tmp_path / "val" / kind / f"other.{suffix}")
    shutil.move(tmp_path / "train" / "classes.json", tmp_path)

    checked = check(read_folders(tmp_path))

    assert (len(checked.train), len(checked.held_out)) == (8, 2)
    assert checked.warnings == ("1 photographs are duplicates, such as other.jpg: each is used once",)


BOX = {"category_id": 3, "segmentation": [[0, 0, 16, 0, 16, 24, 0, 24]]}


def test_the_output_is_an_indexed_data_set(tmp_path: Path) -> None:
    pictures, checked = prepare(folders(tmp_path / "mine"))

    lay_out(pictures, checked, tmp_path / "laid" / "out")

    train = read_dataset(tmp_path / "laid", "out", "train")
    assert len(train.samples) == 8
    assert not (tmp_path / "laid" / "out" / "val").exists()
    assert train.classes == ("background", "cat", "dog")
    assert np.array_equal(train.samples[0].read_mask(), checked.train[0].picture.read_mask())
    assert train.samples[0].read_image().shape == (24, 32, 3)


def test_large_photographs_are_downscaled_with_their_masks(tmp_path: Path) -> None:
    folders(tmp_path / "mine")
    mask = np.zeros((1024, 2048), np.uint8)
    mask[:, :1024] = 2
    for number in range(8):
        save(tmp_path / "mine", f"{number}", noise(number, 1024, 2048), mask)

    pictures, checked = prepare(tmp_path / "mine")
    lay_out(pictures, checked, tmp_path / "laid" / "out")

    sample = read_dataset(tmp_path / "laid", "out", "train").samples[0]
    assert sample.read_image().shape == (512, 1024, 3)
    assert (sample.read_mask()[:, :512] == 2).all()
    assert not sample.read_mask()[:, 512:].any()


@pytest.mark.parametrize("make", [True, False])
def test_an_unknown_layout_is_refused_with_the_known_layouts(make: bool, tmp_path: Path) -> None:
    if make:
        (tmp_path / "mine").mkdir()

    with pytest.raises(DatasetError) as raised:
        read_own(tmp_path / "mine")

    for word in ("COCO's JSON", "classes.json", "images/NAME.jpg", "masks/NAME.png"):
        assert word in str(raised.value)
