"""The table of quality before and after fine-tuning."""

from __future__ import annotations

import numpy as np

from lexiseg_model.evaluation.before_after import BeforeAfter

CLASSES = ("background", "cat", "dog")


def test_classes_that_are_there_stand_side_by_side_with_the_change() -> None:
    # Pixels shared, true and answered: the dog is in no photograph; one answer holds some of it.
    before = np.array([[[60, 10, 0], [80, 20, 0], [70, 25, 5]]] * 4)
    after = np.array([[[75, 18, 0], [80, 20, 0], [77, 23, 0]]] * 4)

    lines = BeforeAfter(CLASSES, before, after).table().splitlines()

    assert [line.split() for line in lines] == [
        ["before", "after", "change", "95", "%"],
        ["IoU", "background", "66.7", "91.5", "+24.8", "+24.8", "to", "+24.8"],
        ["IoU", "cat", "28.6", "72.0", "+43.4", "+43.4", "to", "+43.4"],
        ["mIoU", "47.6", "81.7", "+34.1", "+34.1", "to", "+34.1"],
        ["pixel", "accuracy", "70.0", "93.0", "+23.0", "+23.0", "to", "+23.0"],
    ]
