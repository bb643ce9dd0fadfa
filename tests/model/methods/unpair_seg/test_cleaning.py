from __future__ import annotations

import numpy as np
import torch

from lexiseg_model.methods.unpair_seg.regions import stability, tidied, without_specks


def test_a_mask_with_hard_edges_is_stable_and_one_with_soft_edges_is_not() -> None:
    hard, soft = torch.full((4, 8), -9.0), torch.full((4, 8), -9.0)
    hard[:, :4] = soft[:, :4] = 9
    soft[:, 4:6] = 0.5

    torch.testing.assert_close(stability(torch.stack([hard, soft])), torch.tensor([1, 16 / 24]))


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


def test_logits_lose_specks_and_holes_and_keep_their_distance_from_the_edge() -> None:
    mask = torch.full((1, 16, 16), -2.0)
    mask[0, :8] = 3
    mask[0, 2, 2] = -4  # a hole of one cell
    mask[0, 12, 12] = 5  # a speck of one

    cleaned = tidied(mask, 64)[0]

    assert cleaned[2, 2] == 4
    assert cleaned[12, 12] == -5
    assert torch.equal(cleaned[:2], mask[0, :2])
