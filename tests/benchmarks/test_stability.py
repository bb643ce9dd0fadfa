from __future__ import annotations

import numpy as np
import pytest

from benchmarks.clips.stability import carried, flicker
from tests.model.video.scenes import WINDOW, window


def test_flicker_is_the_share_of_pixels_that_change() -> None:
    before = np.zeros((4, 5), np.uint8)
    now = before.copy()
    now[0, :3] = 1

    assert flicker(before, now) == pytest.approx(3 / 20)
    assert flicker(before, now, now == 1) == 1
    assert flicker(before, now, np.zeros((4, 5), bool)) == 0


def test_labels_are_carried_with_the_picture() -> None:
    before, now = window("china", 200, 150), window("china", 206, 150)
    labels = np.zeros(WINDOW, np.uint8)
    labels[:, 90:] = 1
    expected = np.zeros(WINDOW, np.uint8)
    expected[:, 84:] = 1

    moved, certain = carried(before, now, labels)

    assert certain.mean() > 0.5
    assert not certain[:, -6:].any()
    assert flicker(moved, expected, certain) < 0.01
