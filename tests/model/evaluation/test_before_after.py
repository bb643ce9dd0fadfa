"""The table of before and after: every class, what fell away, and what nobody can say."""

from __future__ import annotations

import numpy as np

from lexiseg_model.evaluation.before_after import BeforeAfter
from lexiseg_model.evaluation.counts import Counts, scores
from lexiseg_model.evaluation.run import Report


def report(counts: Counts) -> Report:
    return Report("tiny", "mine", "val", 3, ("background", "cat", "dog"), {}, scores(counts))


def test_classes_and_means_stand_side_by_side_with_the_change() -> None:
    # Pixels shared, true and answered: the dog is in no photograph and in no answer.
    before = Counts(np.array([60, 10, 0]), np.array([80, 20, 0]), np.array([70, 30, 0]))
    after = Counts(np.array([75, 18, 0]), np.array([80, 20, 0]), np.array([77, 23, 0]))

    lines = BeforeAfter(report(before), report(after)).table().splitlines()

    assert lines[0].split() == ["before", "after", "change"]
    assert lines[1].split() == ["IoU", "background", "66.7", "91.5", "+24.8"]
    assert lines[2].split() == ["IoU", "cat", "25.0", "72.0", "+47.0"]
    assert lines[3].split() == ["IoU", "dog", "-", "-"]
    assert lines[4].split()[0] == "mIoU"
    assert lines[5].split() == ["pixel", "accuracy", "70.0", "93.0", "+23.0"]
    assert len({len(line) for line in lines} - {len(lines[3])}) == 1
