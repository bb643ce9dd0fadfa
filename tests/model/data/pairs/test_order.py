"""The order of pairs: every epoch has each once, and any position is known from seed and number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_model.data.pairs.order import Order
from lexiseg_model.errors import DatasetError

SIZES = [5, 0, 3, 8, 1]
PLACES = {(part, number) for part, size in enumerate(SIZES) for number in range(size)}


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    seed=st.integers(0, 2**32),
    together=st.integers(1, 40),
    epoch=st.integers(0, 3),
)
def test_an_epoch_has_every_pair_once(sizes: list[int], seed: int, together: int, epoch: int) -> None:
    order = Order(sizes, seed, together)

    places = [order[epoch * order.total + offset] for offset in range(order.total)]

    assert sorted(places) == [(part, number) for part, size in enumerate(sizes) for number in range(size)]


def test_a_position_is_the_same_from_wherever_one_comes() -> None:
    walked = Order(SIZES, 7, 6)
    places = [walked[position] for position in range(60)]

    assert [Order(SIZES, 7, 6)[position] for position in reversed(range(60))] == places[::-1]


def test_epochs_and_seeds_differ() -> None:
    order, other = Order(SIZES, 0), Order(SIZES, 1)

    epochs = [[order[epoch * 17 + offset] for offset in range(17)] for epoch in range(3)]

    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [other[offset] for offset in range(17)] != epochs[0]


def test_pairs_are_shuffled_among_parts_that_are_taken_together() -> None:
    order = Order([50] * 10, 0, together=100)

    parts = [order[position].part for position in range(500)]

    assert [len(set(parts[first : first + 100])) for first in range(0, 500, 100)] == [2] * 5
    assert 20 < np.count_nonzero(np.diff(parts[:100])) < 80


def test_a_replacement_is_any_pair_and_always_the_same() -> None:
    order = Order(SIZES, 0)

    replacements = [order.replacement(position, 1) for position in range(300)]

    assert set(replacements) == PLACES
    assert replacements == [Order(SIZES, 0).replacement(position, 1) for position in range(300)]
    assert order.replacement(5, 1) != order.replacement(5, 2)


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no pairs"):
        Order([0, 0], 0)
