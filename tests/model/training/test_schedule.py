"""The learning rate warms up, stays, and decays only at the end."""

from __future__ import annotations

import pytest

from lexiseg_model.training.schedule import LEAST, learning_rate

PEAK, WARMUP, STEPS, DECAY = 2.0, 10, 100, 20


def rate(step: int) -> float:
    return learning_rate(step, PEAK, WARMUP, STEPS, DECAY)


def test_the_first_steps_warm_up() -> None:
    assert [rate(step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])


def test_between_warm_up_and_decay_lies_a_plateau() -> None:
    assert {rate(step) for step in range(WARMUP, STEPS - DECAY + 1)} == {PEAK}


def test_the_last_steps_decay_to_almost_nothing() -> None:
    falling = [rate(step) for step in range(STEPS - DECAY, STEPS + 1)]

    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(PEAK * LEAST)


def test_a_run_without_decay_stays_on_its_plateau() -> None:
    assert learning_rate(99, PEAK, WARMUP, STEPS, 0) == PEAK
