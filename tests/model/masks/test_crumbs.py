from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lexiseg_model.masks.crumbs import CrumbRule, without_crumbs

RULE = CrumbRule(island=0.1, hole=0.1)


@pytest.fixture
def mask() -> Tensor:
    """[1, 20, 30] logits of a square of 10 x 10 at 2 logits, in nothing at -1."""
    mask = torch.full((1, 20, 30), -1.0)
    mask[0, 5:15, 5:15] = 2
    return mask


def test_a_small_island_becomes_as_sure_of_the_contrary(mask: Tensor) -> None:
    whole = mask.clone()
    mask[0, 2:4, 20:22] = 0.5

    cleaned = without_crumbs(mask, RULE)

    assert (cleaned[0, 2:4, 20:22] == -0.5).all()
    cleaned[0, 2:4, 20:22] = -1
    assert torch.equal(cleaned, whole)


def test_a_small_hole_is_filled(mask: Tensor) -> None:
    mask[0, 8:10, 8:10] = -0.5

    cleaned = without_crumbs(mask, RULE)

    assert (cleaned[0, 5:15, 5:15] > 0).all()


def test_a_large_island_and_a_large_hole_stay(mask: Tensor) -> None:
    mask[0, 7:12, 7:12] = -1
    mask[0, 2:6, 20:24] = 2

    assert torch.equal(without_crumbs(mask, RULE), mask)


def test_what_touches_the_edge_of_the_picture_is_no_hole() -> None:
    mask = torch.ones(1, 20, 30)
    mask[0, 0, 3:5] = -1

    assert torch.equal(without_crumbs(mask, RULE), mask)
