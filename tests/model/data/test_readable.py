"""A broken sample is named and another takes its place."""

from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.data.pairs.source import MOST_BROKEN
from lexiseg_model.data.readable import first_readable
from lexiseg_model.errors import DatasetError, SampleError


def read_but(broken: set[int], index: int) -> str:
    if index in broken:
        raise SampleError(f"{index}.jpg", "is cut off")
    return f"content of {index}"


def test_one_that_can_be_read_draws_nothing() -> None:
    random = np.random.default_rng(0)

    assert first_readable(3, 10, lambda index: read_but(set(), index), random) == ("content of 3", ())
    assert random.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_a_broken_one_is_named_and_replaced_by_the_next_that_is_drawn() -> None:
    drawn = np.random.default_rng(0).integers(10, size=2).tolist()

    content, skipped = first_readable(
        3, 10, lambda index: read_but({3, drawn[0]} - {drawn[1]}, index), np.random.default_rng(0)
    )

    assert content == f"content of {drawn[1]}"
    assert skipped == (("3.jpg", "is cut off"), (f"{drawn[0]}.jpg", "is cut off"))


def test_where_all_are_broken_the_last_is_named() -> None:
    with pytest.raises(
        DatasetError, match=f"{MOST_BROKEN + 1} samples in a row cannot be read; the last: .*is cut off"
    ):
        first_readable(0, 4, lambda index: read_but(set(range(4)), index), np.random.default_rng(0))
