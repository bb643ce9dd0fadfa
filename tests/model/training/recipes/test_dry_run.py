"""What a run will take: of what was measured, by the share that each phase has."""

from __future__ import annotations

import pytest
from torch import nn

from lexiseg_model.training.recipe import Division, Phase
from lexiseg_model.training.recipes.dry_run import Measured, Size, total_seconds


def test_each_phase_counts_with_its_share_of_the_steps() -> None:
    first, second = Phase(after=0.0, crop=64, global_batch=8), Phase(after=0.75, crop=96, global_batch=4)

    seconds = total_seconds([Measured(first, Division(8, 1), 0.1, 0), Measured(second, Division(4, 1), 0.5, 0)], 1000)

    assert seconds == pytest.approx(750 * 0.1 + 250 * 0.5)
    assert total_seconds([Measured(first, Division(2, 3), 0.1, 0)], 10) == pytest.approx(3.0)


def test_what_stays_needs_neither_gradients_nor_moments() -> None:
    network = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 5, bias=False))
    network[0].requires_grad_(False)

    size = Size.of(network)

    assert size == (150, 50)
    assert size.state_bytes == 4 * (150 + 150 + 3 * 50)
