"""Scenes by a data set's name: which reader, which truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.read_scenes import read_instance_scenes, read_object_scenes, read_panoptic_scenes
from lexiseg_model.errors import DatasetError
from tests.model.data.panoptic_trees import Drawn, write_ade_instances, write_cityscapes_panoptic, write_coco_instances
from tests.model.data.test_indexed_scenes import is_thing, mask, write

CITY = Drawn("bonn_0_0", np.array([[7, 7, 26001, 26, 0]]), {7: 7, 26001: 26, 26: 26}, crowds=(26,))


def test_a_panoptic_benchmark_serves_all_tasks(tmp_path: Path) -> None:
    write_cityscapes_panoptic(tmp_path, [CITY])

    panoptic = read_panoptic_scenes("cityscapes-panoptic", tmp_path, "val", is_thing)
    instances = read_instance_scenes("cityscapes-panoptic", tmp_path, "val", is_thing)
    objects = read_object_scenes("cityscapes-panoptic", tmp_path, "val", is_thing)

    assert panoptic.classes == instances.classes == objects.classes
    assert len(panoptic.scenes[0].read_truth().segments) == 3
    assert [entry["iscrowd"] for entry in instances.scenes[0].read_truth()] == [0, 1]
    assert objects.scenes[0].read_truth().labels == (13,)
    assert objects.source == "annotated"
    assert objects.scenes[0].name == "bonn_0_0"
    assert objects.scenes[0].read_image().shape == (1, 5, 3)


def test_any_other_name_is_a_folder_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1, 2), ["background", "sky", "car"])

    panoptic = read_panoptic_scenes("mine", tmp_path, "val", is_thing)
    instances = read_instance_scenes("mine", tmp_path, "val", is_thing)
    objects = read_object_scenes("mine", tmp_path, "val", is_thing)

    assert len(panoptic.scenes[0].read_truth().segments) == 2
    assert [entry["category_id"] for entry in instances.scenes[0].read_truth()] == [2]
    assert objects.scenes[0].read_truth().labels == (0, 1)


def test_instance_sets_are_known_by_their_names(tmp_path: Path) -> None:
    write_coco_instances(tmp_path, {1: (4, 4)}, [])
    write_ade_instances(tmp_path, {"ADE_val_00000001": (np.ones((2, 2), int), np.ones((2, 2), int))})

    assert len(read_instance_scenes("coco-instance", tmp_path, "val", is_thing).classes) == 80
    assert len(read_instance_scenes("ade20k-instance", tmp_path, "val", is_thing).classes) == 100


@pytest.mark.parametrize("read", [read_panoptic_scenes, read_object_scenes])
def test_sets_of_instances_alone_serve_no_other_task(read: object, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="coco-instance knows instances only, which"):
        read("coco-instance", tmp_path, "val", is_thing)  # type: ignore[operator]
