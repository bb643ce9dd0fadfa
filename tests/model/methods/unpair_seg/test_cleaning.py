from __future__ import annotations

import numpy as np

from lexiseg_model.methods.unpair_seg.regions import without_specks


def test_small_holes_are_filled_and_large_ones_stay() -> None:
    mask = np.ones((20, 20), bool)
    mask[2:4, 2:4] = False
    mask[8:14, 8:14] = False

    cleaned = without_specks(mask, 15)

    assert cleaned[2:4, 2:4].all()
    assert not cleaned[8:14, 8:14].any()


def test_small_parts_go_and_corners_hold_together() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0:4, 0:4] = True
    mask[4, 4] = True  # touches by a corner
    mask[15:17, 15:17] = True

    cleaned = without_specks(mask, 15)

    assert cleaned[4, 4]
    assert cleaned.sum() == 17
