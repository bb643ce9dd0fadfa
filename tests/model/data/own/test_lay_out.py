"""A user's folder becomes a data set that every trainer reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.own.lay_out import lay_out, prepare, read_own
from lexiseg_model.errors import DatasetError
from tests.model.data.own.made import coco, folders, noise, save

BOX = {"category_id": 3, "segmentation": [[0, 0, 16, 0, 16, 24, 0, 24]]}


def test_what_is_laid_out_is_an_indexed_data_set(tmp_path: Path) -> None:
    pictures, checked = prepare(folders(tmp_path / "mine"))

    lay_out(pictures, checked, tmp_path / "laid" / "out")

    train = read_dataset(tmp_path / "laid", "out", "train")
    assert len(train.samples) == 8
    assert not (tmp_path / "laid" / "out" / "val").exists()
    assert train.classes == ("background", "cat", "dog")
    assert np.array_equal(train.samples[0].read_mask(), checked.train[0].picture.read_mask())
    assert train.samples[0].read_image().shape == (24, 32, 3)


def test_large_photographs_are_made_smaller_with_their_masks(tmp_path: Path) -> None:
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


def test_of_many_some_are_taken_evenly(tmp_path: Path) -> None:
    _, checked = prepare(folders(tmp_path), limit=4)

    names = {entry.picture.image.stem for entry in (*checked.train, *checked.held_out)}
    assert names == {"0", "2", "4", "6"}


def test_too_few_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected at least 4 photographs, .* has 3"):
        prepare(folders(tmp_path), limit=3)


def test_coco_goes_before_folders(tmp_path: Path) -> None:
    annotations = [{**BOX, "id": number, "image_id": number} for number in range(4)]

    assert read_own(coco(tmp_path, annotations, images=4)).classes == ("background", "cat")


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_in_no_layout_is_told_the_layouts(make: bool, tmp_path: Path) -> None:
    if make:
        (tmp_path / "mine").mkdir()

    with pytest.raises(DatasetError) as raised:
        read_own(tmp_path / "mine")

    for word in ("COCO's JSON", "classes.json", "images/NAME.jpg", "masks/NAME.png"):
        assert word in str(raised.value)


def test_an_export_that_is_still_packed_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "export.zip").write_bytes(b"PK")

    with pytest.raises(DatasetError, match=r"export\.zip is packed: unpack it, and name the folder"):
        read_own(tmp_path / "export.zip")


def test_other_tools_labels_beside_the_photographs_are_told_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.4")

    with pytest.raises(DatasetError, match=r"has no pictures in a layout that is known; expected COCO's JSON"):
        read_own(tmp_path)
