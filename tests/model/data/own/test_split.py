"""What is held out where the user did not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexiseg_model.data.own.check import Checked, Looked
from lexiseg_model.data.own.pictures import Picture
from lexiseg_model.data.own.split import split
from lexiseg_model.errors import DatasetError


def looked(*values: set[int]) -> Checked:
    def none() -> None:
        raise AssertionError("nothing is read")

    entries = [
        Looked(Picture(Path(f"{number}.jpg"), none), str(number), frozenset(each))  # type: ignore[arg-type]
        for number, each in enumerate(values)
    ]
    return Checked(tuple(entries), (), ())


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_on_both_sides(seed: int) -> None:
    parts = split(looked(*[{0, 1}] * 18, {0, 2}, {0, 2}), 0.25, seed)

    assert (len(parts.train), len(parts.held_out)) == (15, 5)
    for part in (parts.train, parts.held_out):
        assert any(2 in entry.values for entry in part)


def test_every_photograph_is_on_one_side() -> None:
    before = looked(*[{0, 1}] * 9)

    parts = split(before, 0.25, 3)

    assert sorted(entry.digest for entry in (*parts.train, *parts.held_out)) == [entry.digest for entry in before.train]
    assert split(before, 0.25, 3) == parts
    assert split(before, 0.25, 4) != parts


def test_the_users_own_parts_stay() -> None:
    own = looked({1}, {1}, {1})
    own = Checked(own.train[:2], own.train[2:], ())

    assert split(own, 0.5, 0) == own


def test_too_few_for_two_parts_are_refused() -> None:
    with pytest.raises(DatasetError, match="3 photographs cannot be split; expected at least 4"):
        split(looked({1}, {1}, {1}), 0.25, 0)
