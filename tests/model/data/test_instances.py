"""Instances as COCO's annotations, decoded by pycocotools."""

from __future__ import annotations

import numpy as np

from lexiseg_model.data.instances import Instance, annotations_of, things_of
from lexiseg_model.data.scenes import PanopticTruth, SceneClass, TruthSegment
from tests import coco

IDS = np.array([[0, 9, 9, -1], [0, 9, 4, 4], [700, 700, 4, 4]], np.int32)


def test_every_instance_becomes_a_mask_in_their_order() -> None:
    annotations = annotations_of(IDS, [Instance(700, 2), Instance(4, 0, crowd=True), Instance(9, 1)])

    assert [entry["category_id"] for entry in annotations] == [3, 1, 2]
    assert [entry["iscrowd"] for entry in annotations] == [0, 1, 0]
    for entry, number in zip(annotations, (700, 4, 9), strict=True):
        assert np.array_equal(coco.decode(entry["segmentation"]), number == IDS)
        assert entry["area"] == np.count_nonzero(number == IDS)
        assert entry["bbox"] == coco.box(entry["segmentation"])


def test_an_instance_without_pixels_is_left_out() -> None:
    assert [entry["category_id"] for entry in annotations_of(IDS, [Instance(9, 1), Instance(10, 2)])] == [2]


def test_no_instances_give_no_annotations() -> None:
    assert annotations_of(IDS, []) == []


def test_of_a_panoptic_truth_only_things_are_instances() -> None:
    classes = [SceneClass("sky", ("sky",), thing=False), SceneClass("car", ("car",), thing=True)]
    truth = PanopticTruth(IDS, (TruthSegment(9, 0, 3), TruthSegment(4, 1, 4), TruthSegment(700, 1, 2, crowd=True)))

    found = things_of(truth, classes)

    assert [(entry["category_id"], entry["area"], entry["iscrowd"]) for entry in found] == [(2, 4, 0), (2, 2, 1)]
