"""COCO's and ADE20K's instances, read from miniature trees in their official layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexiseg_model.data.read_scenes import read_ade_instances, read_coco_instances
from lexiseg_model.errors import DatasetError
from tests import coco
from tests.model.data.panoptic_trees import write_ade_instances, write_coco_instances


def polygon(number: int, image: int, category: int, crowd: int = 0) -> dict[str, Any]:
    shape: Any = (
        {"size": [40, 60], "counts": [0, 400, 2000]} if crowd else [[0.0, 0.0, 10.0, 0.0, 10.0, 20.0, 0.0, 20.0]]
    )
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": shape,
        "area": 200.0, "bbox": [0, 0, 10, 20], "iscrowd": crowd,
    }  # fmt: skip


def test_coco_has_eighty_things_and_all_images(tmp_path: Path) -> None:
    write_coco_instances(tmp_path, {285: (40, 60), 139: (40, 60)}, [polygon(1, 285, 90), polygon(2, 285, 1, crowd=1)])

    data = read_coco_instances(tmp_path, "val")

    assert (len(data.classes), data.classes[79].name, data.official) == (80, "toothbrush", 5000)
    assert data.background
    assert [scene.name for scene in data.scenes] == ["000000000139.jpg", "000000000285.jpg"]
    assert data.scenes[0].read_truth() == []
    assert [(entry["category_id"], entry["iscrowd"]) for entry in data.scenes[1].read_truth()] == [(80, 0), (1, 1)]
    assert data.scenes[1].read_image().shape == (40, 60, 3)


def test_a_category_outside_the_eighty_is_reported(tmp_path: Path) -> None:
    write_coco_instances(tmp_path, {1: (40, 60)}, [polygon(1, 1, 92)])

    with pytest.raises(DatasetError, match=r"instances_val2017.json: unknown category 92; expected one of"):
        read_coco_instances(tmp_path, "val")


CLASSES = np.array([[0, 1, 1], [100, 1, 0]])
NUMBERS = np.array([[0, 1, 1], [2, 3, 0]])


def test_ade_instances_are_separated_by_class_and_number(tmp_path: Path) -> None:
    write_ade_instances(tmp_path, {"ADE_val_00000001": (CLASSES, NUMBERS)})

    data = read_ade_instances(tmp_path, "val")
    truth = data.scenes[0].read_truth()

    assert (len(data.classes), data.classes[0].name, data.classes[99].name) == (100, "bed", "flag")
    assert [entry["category_id"] for entry in truth] == [1, 1, 100]
    assert [coco.decode(entry["segmentation"]).tolist() for entry in truth] == [
        [[False, True, True], [False, False, False]],
        [[False, False, False], [False, True, False]],
        [[False, False, False], [True, False, False]],
    ]
