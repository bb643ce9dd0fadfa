"""Users over time."""

from __future__ import annotations

import pytest

from loadtests.shapes import SHAPES, Stage, soak, spike, stage_at, steps


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize(("users", "seconds"), [(1, 1.0), (7, 30.0), (200, 3600.0)])
def test_every_shape_fills_its_time_and_reaches_its_users(name: str, users: int, seconds: float) -> None:
    stages = SHAPES[name](users, seconds)

    assert [stage.until for stage in stages] == sorted(stage.until for stage in stages)
    assert stages[-1].until == seconds
    assert max(stage.users for stage in stages) == users
    assert min(stage.users for stage in stages) >= 1
    assert all(stage.rate > 0 for stage in stages)


def test_steps_rise_one_by_one() -> None:
    assert [stage.users for stage in steps(32, 60)] == [8, 16, 24, 32]


def test_a_spike_stands_in_the_middle_of_quiet() -> None:
    assert [stage.users for stage in spike(50, 100)] == [5, 50, 5]


def test_a_soak_begins_slowly() -> None:
    beginning, rest = soak(100, 1000)

    assert (beginning.rate, beginning.until, rest.users) == (1.0, 100.0, 100)


def test_a_stage_ends_when_the_next_begins() -> None:
    stages = [Stage(10, 1, 1), Stage(20, 2, 1)]

    assert [stage_at(stages, seconds) for seconds in (0, 9.9, 10, 19.9, 20)] == [
        stages[0],
        stages[0],
        stages[1],
        stages[1],
        None,
    ]
