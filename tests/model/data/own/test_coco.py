"""COCO JSON becomes masks: polygons, run lengths, crowds and overlaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.data.own.coco import listings, read_coco
from lexiseg_model.data.own.pictures import OwnPictures
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import encode_mask
from tests.model.data.own.made import coco

LARGE = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}
SMALL = {"id": 2, "image_id": 0, "category_id": 7, "segmentation": [[4, 4, 8, 4, 8, 8, 4, 8]]}


def read(root: Path) -> OwnPictures:
    return read_coco(root, listings(root))


@pytest.mark.parametrize("annotations", [[LARGE, SMALL], [SMALL, LARGE]])
def test_of_overlapping_annotations_the_smaller_is_on_top(annotations: list[dict[str, Any]], tmp_path: Path) -> None:
    pictures = read(coco(tmp_path, annotations))

    mask = pictures.train[0].read_mask()

    assert pictures.classes == ("background", "dog", "cat")
    assert np.bincount(mask.ravel()).tolist() == [24 * 32 - 400, 16, 400 - 16]
    assert mask[5, 5] == 1


def test_run_lengths_are_read_in_both_forms(tmp_path: Path) -> None:
    shape = np.zeros((24, 32), bool)
    shape[2:6, 3:9] = True
    plain = [3 * 24 + 2]  # columns first
    for _ in range(5):
        plain += [4, 20]
    plain += [4, 24 * 32 - sum(plain) - 4]
    forms = ({"size": [24, 32], "counts": encode_mask(shape).counts}, {"size": [24, 32], "counts": plain})

    for number, form in enumerate(forms):
        pictures = read(coco(tmp_path / str(number), [{**SMALL, "segmentation": form}]))
        assert np.array_equal(pictures.train[0].read_mask() == 1, shape)


@pytest.mark.parametrize(
    "file", ["instances_val2017.json", "val.json", "valid/_annotations.coco.json", "instances_Validation.json"]
)
def test_files_named_as_validation_are_held_out(file: str, tmp_path: Path) -> None:
    (tmp_path / "valid").mkdir()
    coco(tmp_path, [LARGE], images=3)
    coco(tmp_path, [LARGE], file, images=2)

    pictures = read(tmp_path)

    assert (len(pictures.train), len(pictures.held_out)) == (3, 2)


def test_missing_photographs_are_counted_and_reported(tmp_path: Path) -> None:
    coco(tmp_path, [LARGE], images=3)
    (tmp_path / "1.jpg").unlink()

    with pytest.raises(DatasetError, match=r"1 of 3 photographs are missing, such as 1\.jpg"):
        read(tmp_path)


def test_a_mask_painted_in_cvat_is_not_a_crowd(tmp_path: Path) -> None:
    # CVAT, by Datumaro: every mask has iscrowd 1, and every annotation its attributes.
    shape = np.zeros((24, 32), bool)
    shape[4:8, 4:8] = True
    painted = {"segmentation": {"size": [24, 32], "counts": encode_mask(shape).counts}, "iscrowd": 1}

    pictures = read(coco(tmp_path, [LARGE, {**SMALL, **painted, "attributes": {"occluded": False}}]))

    assert pictures.train[0].read_mask()[5, 5] == 1
    assert pictures.warnings == ()


def test_a_box_without_an_outline_is_ignored_with_a_warning(tmp_path: Path) -> None:
    # Label Studio's rectangles.
    box = {"id": 3, "image_id": 0, "category_id": 7, "segmentation": [], "bbox": [24.5, 1, 3, 4.2], "iscrowd": 0}

    pictures = read(coco(tmp_path, [LARGE, box, {**SMALL, "iscrowd": 1}]))

    mask = pictures.train[0].read_mask()
    assert np.argwhere(mask[:, 22:] == IGNORE).tolist() == [
        [row, column] for row in range(1, 6) for column in range(2, 6)
    ]
    assert pictures.warnings == (
        "1 of 3 annotations are boxes without an outline: their pixels are ignored",
        "1 of 3 annotations are crowds (iscrowd): their pixels are ignored",
    )


def moved(root: Path, to: str) -> Path:
    target = root / to
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / "0.jpg").rename(target)
    return target


@pytest.mark.parametrize(
    ("listing", "named", "lies"),
    [
        ("annotations/instances_default.json", "0.jpg", "images/default/0.jpg"),  # CVAT
        ("annotations/instances_Train.json", "cats/0.jpg", "images/Train/cats/0.jpg"),
        ("annotations/instances_train2017.json", "0.jpg", "train2017/0.jpg"),  # COCO
        ("result.json", "images/1a2b3c4d-0.jpg", "images/1a2b3c4d-0.jpg"),  # Label Studio
        ("result.json", "images\\1a2b3c4d-0.jpg", "images/1a2b3c4d-0.jpg"),  # on Windows
        ("result.json", "/data/upload/7/1a2b3c4d-0.jpg", "photos/0.jpg"),  # without images
        ("result.json", "https://store.example/cats/my%20cat.jpg?sign=1", "my cat.jpg"),
        ("train/_annotations.coco.json", "0.jpg", "train/0.jpg"),  # Roboflow
    ],
)
def test_photographs_are_found_in_the_folders_of_common_tools(
    listing: str, named: str, lies: str, tmp_path: Path
) -> None:
    (tmp_path / listing).parent.mkdir(exist_ok=True)
    coco(tmp_path, [LARGE])
    photograph = moved(tmp_path, lies)
    content = json.loads((tmp_path / "annotations.json").read_text())
    (tmp_path / "annotations.json").unlink()
    content["images"][0]["file_name"] = named
    (tmp_path / listing).write_text(json.dumps(content))

    assert [picture.image for picture in read(tmp_path).train] == [photograph]
