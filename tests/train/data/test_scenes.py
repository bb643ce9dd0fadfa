"""Scenes: components of label maps, derived ground truths, and readers by data set name."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lexiseg_train.data.read_scenes import read_instance_scenes, read_object_scenes, read_panoptic_scenes
from lexiseg_train.data.scenes import NOTHING, VOID, PanopticTruth, SceneClass, TruthSegment, objects_in, panoptic_of
from tests.train.data.own.made import save
from tests.train.data.panoptic_trees import Drawn, write_cityscapes_panoptic

IGNORED = 255


def board() -> NDArray[np.uint8]:
    return np.zeros((60, 60), np.uint8)


def test_things_are_segments_by_component_and_stuff_by_class() -> None:
    labels = board()
    labels[0:10, 0:10] = labels[0:10, 20:30] = 1
    labels[30:40, 0:10] = labels[30:40, 20:30] = 2

    truth = panoptic_of(labels, things={1}, stuff={2}, ignored=IGNORED)

    assert truth.segments == (TruthSegment(1, 1, 100), TruthSegment(2, 1, 100), TruthSegment(3, 2, 200))
    assert (truth.ids[0, 0], truth.ids[0, 20], truth.ids[30, 0], truth.ids[30, 20]) == (1, 2, 3, 3)


def test_specks_of_things_and_ignored_pixels_are_void() -> None:
    labels = board()
    labels[0:3, 0:3], labels[50:, 50:] = 1, IGNORED

    truth = panoptic_of(labels, things={1}, stuff=set(), ignored=IGNORED)

    assert truth.segments == ()
    assert np.array_equal(truth.ids == VOID, labels > 0)


CLASSES = [SceneClass("sky", ("sky",), thing=False), SceneClass("car", ("car",), thing=True)]


def test_instances_of_things_are_numbered_and_stuff_is_unassigned() -> None:
    truth = PanopticTruth(
        np.array([[8, 8, 5, 6, NOTHING]], np.int32),
        (TruthSegment(8, 0, 2), TruthSegment(5, 1, 1), TruthSegment(6, 1, 1)),
    )

    found = objects_in(truth, CLASSES)

    assert found.labels == (1, 1)
    assert found.ids.tolist() == [[0, 0, 1, 2, 0]]
    assert not found.ignored.any()


def write(root: Path, mask: NDArray[np.uint8], classes: Sequence[str] | None) -> None:
    """`root`/mine/val with one photograph."""
    save(root / "mine" / "val", "one", np.zeros((*mask.shape, 3), np.uint8), mask)
    if classes is not None:
        (root / "mine" / "classes.json").write_text(json.dumps(classes))


def mask(*values: int) -> NDArray[np.uint8]:
    """Stripes of 20 x 60 pixels."""
    return np.repeat(np.array(values, np.uint8), 20)[:, None].repeat(60, 1)


CITY = Drawn("bonn_0_0", np.array([[7, 7, 26001, 26, 0]]), {7: 7, 26001: 26, 26: 26}, crowds=(26,))


def test_a_panoptic_benchmark_serves_all_tasks(tmp_path: Path) -> None:
    write_cityscapes_panoptic(tmp_path, [CITY])

    panoptic = read_panoptic_scenes("cityscapes-panoptic", tmp_path, "val")
    instances = read_instance_scenes("cityscapes-panoptic", tmp_path, "val")
    objects = read_object_scenes("cityscapes-panoptic", tmp_path, "val")

    assert panoptic.classes == instances.classes == objects.classes
    assert len(panoptic.scenes[0].read_truth().segments) == 3
    assert [entry["iscrowd"] for entry in instances.scenes[0].read_truth()] == [0, 1]
    assert objects.scenes[0].read_truth().labels == (13,)
    assert objects.source == "annotated"
    assert objects.scenes[0].name == "bonn_0_0"
    assert objects.scenes[0].read_image().shape == (1, 5, 3)


def test_any_other_name_is_a_folder_of_the_user_whose_background_is_no_class(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1, 2, 1, 255), ["background", "sky", "car"])

    panoptic = read_panoptic_scenes("mine", tmp_path, "val")
    instances = read_instance_scenes("mine", tmp_path, "val").scenes[0].read_truth()
    objects = read_object_scenes("mine", tmp_path, "val").scenes[0].read_truth()

    assert panoptic.background
    assert [(entry.name, entry.thing) for entry in panoptic.classes] == [("sky", False), ("car", True)]
    truth = panoptic.scenes[0].read_truth()
    assert {segment.class_index: segment.id for segment in truth.segments} == {1: 1, 0: 2}
    assert truth.ids[::20, 0].tolist() == [NOTHING, 2, 1, 2, VOID]
    assert [entry["category_id"] for entry in instances] == [2]
    assert objects.labels == (0, 0, 1)
    assert objects.ids[::20, 0].tolist() == [0, 1, 3, 2, 0]
    assert objects.ignored[:, 0].tolist() == [False] * 80 + [True] * 20


def test_any_json_of_coco_gives_objects_with_the_smaller_above_and_groups_ignored(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    squares = {"large": [0, 0, 6, 6], "small": [1, 1, 4, 4], "group": [6, 0, 8, 6]}
    polygons = {name: [[x0, y0, x1, y0, x1, y1, x0, y1]] for name, (x0, y0, x1, y1) in squares.items()}
    annotations = [
        {"image_id": 5, "category_id": category, "segmentation": polygons[name], "area": 1, "bbox": [0, 0, 1, 1]}
        | ({"iscrowd": 1} if name == "group" else {})
        for name, category in (("small", 30), ("large", 7), ("group", 7))
    ]
    content = {
        "images": [{"id": 5, "file_name": "a.png", "width": 8, "height": 6}],
        "annotations": annotations,
        "categories": [{"id": 30, "name": "cup"}, {"id": 7, "name": "table"}],
    }
    (tmp_path / "mine.json").write_text(json.dumps(content))

    data = read_object_scenes("mine.json", tmp_path, "val")
    objects = data.scenes[0].read_truth()

    assert [entry.name for entry in data.classes] == ["table", "cup"]
    assert objects.labels == (0, 1)
    assert [objects.ids[0, 0], objects.ids[2, 2], objects.ids[5, 7]] == [1, 2, 0]
    assert objects.ignored[:, 6:].all()
    assert not objects.ignored[:, :6].any()
    instances = read_instance_scenes("mine.json", tmp_path, "val").scenes[0].read_truth()
    assert [(entry["category_id"], entry["iscrowd"]) for entry in instances] == [(2, 0), (1, 0), (1, 1)]
