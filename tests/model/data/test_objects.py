"""The things of a panoptic truth as objects of prompts."""

from __future__ import annotations

import numpy as np

from lexiseg_model.data.objects import objects_in
from lexiseg_model.data.scenes import NOTHING, PanopticTruth, SceneClass, TruthSegment

CLASSES = [SceneClass("sky", ("sky",), thing=False), SceneClass("car", ("car",), thing=True)]


def test_things_are_numbered_and_stuff_is_nobodys() -> None:
    truth = PanopticTruth(
        np.array([[8, 8, 5, 6, NOTHING]], np.int32),
        (TruthSegment(8, 0, 2), TruthSegment(5, 1, 1), TruthSegment(6, 1, 1)),
    )

    found = objects_in(truth, CLASSES)

    assert found.labels == (1, 1)
    assert found.ids.tolist() == [[0, 0, 1, 2, 0]]
    assert not found.ignored.any()


def test_void_and_groups_are_ignored() -> None:
    truth = PanopticTruth(np.array([[0, 5, 6]], np.int32), (TruthSegment(5, 1, 1, crowd=True), TruthSegment(6, 1, 1)))

    found = objects_in(truth, CLASSES)

    assert found.ignored.tolist() == [[True, True, False]]
    assert found.ids.tolist() == [[0, 0, 1]]


def test_a_thing_without_pixels_is_no_object() -> None:
    truth = PanopticTruth(np.array([[6]], np.int32), (TruthSegment(5, 1, 9), TruthSegment(6, 1, 1)))

    assert objects_in(truth, CLASSES).labels == (1,)
