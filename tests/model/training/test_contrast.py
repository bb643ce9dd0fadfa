"""The contrastive loss: what costs more than what, and the bounds of its temperature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lexiseg_model.training.contrast import Contrast


def embeddings(count: int) -> Tensor:
    return torch.eye(8)[:count]


def test_matching_pairs_cost_less_than_mixed_ones() -> None:
    contrast = Contrast()
    matching = embeddings(4) @ embeddings(4).T

    assert contrast(matching, matching) < contrast(matching.roll(1, 0), matching.roll(1, 0))


def test_the_contrast_of_equal_cosines_is_that_of_guessing() -> None:
    assert Contrast()(torch.zeros(3, 6), torch.zeros(3, 6)).item() == pytest.approx(math.log(6))


def test_the_temperature_does_not_fall_without_end() -> None:
    contrast = Contrast()
    with torch.no_grad():
        contrast.log_scale.fill_(50.0)
    mixed = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert contrast(mixed, mixed).item() == pytest.approx(100.0)
