from __future__ import annotations

import numpy as np
import torch

from model.methods.unpair_seg.cleaning import stability, without_specks


def test_a_mask_with_hard_edges_is_stable_and_one_with_soft_edges_is_not() -> None:
    hard, soft = torch.full((4, 8), -9.0), torch.full((4, 8), -9.0)
    hard[:, :4] = soft[:, :4] = 9
    soft[:, 4:6] = 0.5

    torch.testing.assert_close(stability(torch.stack([hard, soft])), torch.tensor([1, 16 / 24]))


def test_an_empty_mask_is_not_stable() -> None:
    assert stability(torch.full((1, 4, 4), -1.0)).tolist() == [0]


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


def test_of_small_parts_alone_the_largest_stays() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0, 0:3] = mask[10, 0:5] = True

    assert without_specks(mask, 15).sum() == 5


def test_an_empty_mask_stays_empty() -> None:
    assert not without_specks(np.zeros((20, 20), bool)).any()
