"""Learning rate schedules: warm-up, decay, cosine, multistep; the length of a run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lexiseg_model.training.schedule import Budget, Reached, Schedule
from tests.model.training.toy import recipe_for

STEPS, WARMUP, DECAY = 100, 10, 20


def factors(**values: Any) -> list[float]:
    """Of every step and of the end."""
    recipe = recipe_for(steps=STEPS, warmup_steps=WARMUP, **values)
    schedule = Schedule(recipe)
    return [schedule.factor(step, step / STEPS, WARMUP / STEPS) for step in range(STEPS + 1)]


def test_the_first_steps_warm_up() -> None:
    assert [factors()[step] for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_the_rate_decays_to_near_zero_at_the_end() -> None:
    falling = factors(decay_steps=DECAY, last_rate=0.01)[STEPS - DECAY :]

    assert falling == sorted(falling, reverse=True)
    assert falling[DECAY // 2] == pytest.approx(0.01 + 0.99 / 2)
    assert falling[-1] == pytest.approx(0.01)


def test_a_cosine_schedule_falls_from_warm_up_to_the_final_rate() -> None:
    """TCL's: 15,000 steps up from 1e-4 of the peak, then a cosine over 35,000 to 1e-5, of 7.5e-5."""
    recipe = recipe_for(
        steps=50_000, warmup_steps=15_000, schedule="cosine", warmup_from=1e-4, last_rate=4 / 30, learning_rate=7.5e-5
    )

    def rate(step: int) -> float:
        return 7.5e-5 * Schedule(recipe).factor(step, step / 50_000, 0.3)

    assert rate(0) == pytest.approx(7.5e-9)
    assert rate(15_000) == pytest.approx(7.5e-5)
    assert rate(32_500) == pytest.approx((7.5e-5 + 1e-5) / 2)
    assert rate(25_000) == pytest.approx(1e-5 + 6.5e-5 * (1 + math.cos(math.pi * 10 / 35)) / 2)
    assert rate(50_000) == pytest.approx(1e-5)


def test_a_multistep_schedule_drops_at_its_milestones() -> None:
    """Unpair-Seg's: by ten at 93,500 and at 104,500 of 110,000 steps."""
    recipe = recipe_for(steps=110_000, warmup_steps=10, schedule="multistep")
    schedule = Schedule(recipe)

    seen = [schedule.factor(step, step / 110_000, 0.0) for step in (93_499, 93_500, 104_499, 104_500)]

    assert seen == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_budget_counts_steps_examples_or_time() -> None:
    reached = Reached(steps=30, examples=50, seconds=90)

    assert Budget.of(recipe_for(steps=60), None).share(reached) == 0.5
    assert Budget.of(recipe_for(steps=None, epochs=2), 100).share(reached) == 0.25
    assert Budget.of(recipe_for(steps=None, minutes=2), None).share(reached) == 0.75
    assert Budget.of(recipe_for(steps=20), None).share(reached) == 1
