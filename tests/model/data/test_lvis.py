from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexiseg_model.data.labels import IGNORED
from lexiseg_model.data.read import read_benchmark
from lexiseg_model.errors import DatasetError
from tests.model.data.trees import write_lvis

IMAGE = {"id": 285, "height": 8, "width": 10, "split": "val2017"}


def box(image: int, category: int, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    ring = [left, top, right, top, right, bottom, left, bottom]
    area = (right - left) * (bottom - top)
    return {"image_id": image, "category_id": category, "segmentation": [ring], "area": area}


def test_masks_become_labels_and_the_rest_is_ignored(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE], [box(285, 1, 0, 0, 4, 8), box(285, 1203, 6, 0, 10, 8)])

    labels = read_benchmark("lvis", tmp_path).images[0].read_labels()

    assert labels[0].tolist() == [0] * 4 + [IGNORED] * 2 + [1202] * 4


def test_where_two_overlap_the_smaller_wins(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE], [box(285, 5, 2, 2, 4, 4), box(285, 9, 0, 0, 10, 8)])

    labels = read_benchmark("lvis", tmp_path).images[0].read_labels()

    assert labels[3].tolist() == [8, 8, 4, 4, 8, 8, 8, 8, 8, 8]


def test_all_parts_of_an_instance_are_painted(tmp_path: Path) -> None:
    parts = box(285, 3, 0, 0, 2, 8) | {"segmentation": [[0, 0, 2, 0, 2, 8, 0, 8], [8, 0, 10, 0, 10, 8, 8, 8]]}
    write_lvis(tmp_path, [IMAGE], [parts])

    labels = read_benchmark("lvis", tmp_path).images[0].read_labels()

    assert np.unique(labels[:, [0, 1, 8, 9]]).tolist() == [2]


def test_photographs_lie_in_the_folder_that_their_address_names(tmp_path: Path) -> None:
    other = {"id": 139, "height": 8, "width": 10, "split": "train2017"}
    write_lvis(tmp_path, [IMAGE, other], [box(285, 1, 0, 0, 4, 8), box(139, 1, 0, 0, 4, 8)])

    data = read_benchmark("lvis", tmp_path)

    assert [image.name for image in data.images] == ["train2017/000000000139.jpg", "val2017/000000000285.jpg"]
    assert data.images[0].read_image().shape == (8, 10, 3)


def test_an_image_without_a_mask_is_left_out(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE, IMAGE | {"id": 9}], [box(285, 1, 0, 0, 4, 8)])

    assert len(read_benchmark("lvis", tmp_path).images) == 1


def test_a_missing_photograph_is_an_error(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE], [box(285, 1, 0, 0, 4, 8)])
    (tmp_path / "coco" / "val2017" / "000000000285.jpg").unlink()

    with pytest.raises(DatasetError, match="lvis: 1 of 1 photographs are missing"):
        read_benchmark("lvis", tmp_path)


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"lvis_v1_val.json does not exist"):
        read_benchmark("lvis", tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}'])
def test_a_file_of_another_kind_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "lvis").mkdir()
    (tmp_path / "lvis" / "lvis_v1_val.json").write_text(content)

    with pytest.raises(DatasetError, match="is not an LVIS v1 annotation file"):
        read_benchmark("lvis", tmp_path)


def test_a_category_that_lvis_does_not_have_is_an_error(tmp_path: Path) -> None:
    write_lvis(tmp_path, [IMAGE], [box(285, 1204, 0, 0, 4, 8)])

    with pytest.raises(DatasetError, match="category 1204, where there are 1203"):
        read_benchmark("lvis", tmp_path)
