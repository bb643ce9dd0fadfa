"""Tables of calibration and thresholds."""

import numpy as np

from benchmarks.scores import Scored, calibration, thresholds

SEGMENTS = [Scored(1, 0.0, False), Scored(1, 0.5, True), Scored(1, 0.5, False), Scored(6, 0.9, True)]


def test_calibration_is_measured_for_each_length_over_all_and_over_kept_segments() -> None:
    assert [*calibration(SEGMENTS, 0.6)][1:] == ["| 1 | 0.000 | 0.000 | nan |", "| 6 | 0.100 | 0.100 | 1.00 |"]


def test_a_threshold_keeps_segments_of_at_least_its_score() -> None:
    half = np.array([[1], [2], [1]])

    *_, lowest, highest = thresholds(SEGMENTS, 4, {0.0: half, 0.6: half})

    assert lowest == "| 0.00 | 0.500 | 0.500 | 50.0 |"
    assert highest == "| 0.60 | 1.000 | 0.250 | 50.0 |"
