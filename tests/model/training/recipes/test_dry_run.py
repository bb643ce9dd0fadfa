"""Estimates of time and memory by a dry run."""

from __future__ import annotations

import pytest

from lexiseg_model.training.recipe import Division, Phase
from lexiseg_model.training.recipes.dry_run import Measured, total_seconds


def test_a_dry_run_weights_each_phase_by_its_share_of_steps() -> None:
    first, second = Phase(after=0.0, crop=64, global_batch=8), Phase(after=0.75, crop=96, global_batch=4)

    seconds = total_seconds([Measured(first, Division(8, 1), 0.1, 0), Measured(second, Division(4, 1), 0.5, 0)], 1000)

    assert seconds == pytest.approx(750 * 0.1 + 250 * 0.5)
    assert total_seconds([Measured(first, Division(2, 3), 0.1, 0)], 10) == pytest.approx(3.0)
