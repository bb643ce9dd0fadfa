"""Masks over each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lexiseg_model.masks.layers import confidence, label_map, overlapping
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.types import Rle


def masks(*rows: str) -> list[Rle]:
    """One mask [1, W] for each row, of its crosses."""
    return [encode_mask(np.array([[letter == "x" for letter in row]])) for row in rows]


def shown(masks: Sequence[Rle], *indices: int) -> list[int]:
    labels: list[int] = label_map(masks, indices, masks[0].size)[0].tolist()
    return labels


def test_the_earlier_lies_on_top() -> None:
    assert shown(masks("xxx..", ".xxx."), 0, 1) == [1, 1, 1, 2, 0]


def test_what_is_not_shown_leaves_its_number_free() -> None:
    assert shown(masks("xxx..", "xxxxx", "..xxx"), 0, 2) == [1, 1, 1, 3, 3]


def test_masks_that_share_a_pixel_overlap() -> None:
    assert overlapping(masks("xx...", ".xx.."), (1, 5))


def test_masks_side_by_side_do_not_overlap() -> None:
    assert not overlapping(masks("xx...", "..xx.", "....."), (1, 5))


def test_confidence_is_certain_far_from_the_edge_of_a_mask_and_torn_on_it() -> None:
    logits = torch.tensor([[20.0, 20.0, 0.0, -20.0, -20.0]])

    sure = confidence([logits], (1, 5))

    np.testing.assert_allclose(sure[0], [1, 1, 0.5, 1, 1], atol=1e-6)
