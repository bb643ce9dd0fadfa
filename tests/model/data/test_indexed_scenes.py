"""Indexed sets as scenes, with and without a background, with and without names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.indexed_scenes import object_scenes, panoptic_scenes
from lexiseg_model.data.scenes import NOTHING, VOID
from lexiseg_model.errors import DatasetError, SampleError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def write(root: Path, mask: NDArray[np.uint8], classes: Sequence[str] | None) -> None:
    """`root`/mine/val with one photograph."""
    for kind in ("images", "masks"):
        (root / "mine" / "val" / kind).mkdir(parents=True)
    Image.new("RGB", (mask.shape[1], mask.shape[0])).save(root / "mine" / "val" / "images" / "one.jpg")
    Image.fromarray(mask).save(root / "mine" / "val" / "masks" / "one.png")
    if classes is not None:
        (root / "mine" / "classes.json").write_text(json.dumps(classes))


def is_thing(name: str) -> bool | None:
    return {"sky": False, "car": True}.get(name)


def mask(*values: int) -> NDArray[np.uint8]:
    """Stripes of 20 x 60 pixels."""
    return np.repeat(np.array(values, np.uint8), 20)[:, None].repeat(60, 1)


def test_a_background_is_no_class_and_labels_count_without_it(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1, 2, 255), ["background", "sky", "car"])

    data = panoptic_scenes(read_dataset(tmp_path, "mine", "val"), is_thing)

    assert data.background
    assert [(entry.name, entry.thing) for entry in data.classes] == [("sky", False), ("car", True)]
    truth = data.scenes[0].read_truth()
    assert {segment.class_index: segment.id for segment in truth.segments} == {1: 1, 0: 2}
    assert truth.ids[::20, 0].tolist() == [NOTHING, 2, 1, VOID]


def test_without_a_background_labels_are_mask_values(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1), ["sky", "car"])

    data = panoptic_scenes(read_dataset(tmp_path, "mine", "val"), is_thing)

    assert not data.background
    assert sorted(segment.class_index for segment in data.scenes[0].read_truth().segments) == [0, 1]


def test_a_class_of_which_nobody_knows_is_a_thing(tmp_path: Path) -> None:
    write(tmp_path, mask(0), ["gizmo"])

    assert panoptic_scenes(read_dataset(tmp_path, "mine", "val"), is_thing).classes[0].thing


def test_components_are_said_to_be_components(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1), ["sky", "car"])

    assert panoptic_scenes(read_dataset(tmp_path, "mine", "val"), is_thing).source == "components"


def test_objects_are_components_of_things_and_stuff_but_not_of_the_background(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1, 2, 1, 255), ["background", "sky", "car"])

    (scene,) = object_scenes(tmp_path, "mine", "val", is_thing).scenes
    objects = scene.read_truth()

    assert objects.labels == (0, 0, 1)
    assert objects.ids[::20, 0].tolist() == [0, 1, 3, 2, 0]
    assert objects.ignored[:, 0].tolist() == [False] * 80 + [True] * 20


def test_where_classes_have_no_names_every_value_is_a_region(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 7, 3, 7, 255), None)

    data = object_scenes(tmp_path, "mine", "val", is_thing)

    assert [entry.name for entry in data.classes] == ["region"]
    objects = data.scenes[0].read_truth()
    assert objects.labels == (0, 0, 0, 0)
    assert len(np.unique(objects.ids[::20, 0])) == 5
    assert objects.ignored[-1, 0]


def test_a_mask_of_another_kind_is_named(tmp_path: Path) -> None:
    write(tmp_path, mask(0), None)
    Image.new("RGB", (60, 20)).save(tmp_path / "mine" / "val" / "masks" / "one.png")

    with pytest.raises(DatasetError, match=r"one.png: is of mode RGB; expected one channel of 8 bits"):
        object_scenes(tmp_path, "mine", "val", is_thing).scenes[0].read_truth()


def test_a_mask_that_does_not_fit_its_photograph_or_its_classes_is_named(tmp_path: Path) -> None:
    write(tmp_path, mask(0, 1, 2), ["background", "sky"])
    (scene,) = object_scenes(tmp_path, "mine", "val", is_thing).scenes

    with pytest.raises(SampleError, match=r"one.png: holds 2; expected 0 to 1 and 255"):
        scene.read_truth()
    Image.new("L", (60, 40)).save(tmp_path / "mine" / "val" / "masks" / "one.png")
    with pytest.raises(SampleError, match=r"one.png: is 60 x 40, its photograph 60 x 60; expected one size"):
        scene.read_truth()


def test_a_set_that_is_not_there_is_named_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"mine does not exist; expected .*masks/NAME.png"):
        object_scenes(tmp_path, "mine", "val", is_thing)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared photographs are not here")
@pytest.mark.parametrize(("name", "n_classes"), [("voc", 20), ("regions", 1), ("street", 8)])
def test_real_sets_have_objects(name: str, n_classes: int) -> None:
    data = object_scenes(SHARED, name, "val", is_thing)

    assert len(data.classes) == n_classes
    for scene in data.scenes[:5]:
        objects = scene.read_truth()
        assert objects.labels
        assert objects.ids.max() == len(objects.labels)
        assert objects.ids.shape == scene.read_image().shape[:2]
