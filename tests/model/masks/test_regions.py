"""Instances of a pixel method are its connected regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.regions import split

pytestmark = pytest.mark.usefixtures("each_way")

maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(0, 3))


def labels(*rows: str) -> NDArray[np.uint8]:
    return np.array([[int(letter) for letter in row] for row in rows], np.uint8)


def test_two_parts_of_a_class_are_two_regions() -> None:
    found = split(labels("00100", "00100"), [0], smallest=1)

    assert found.owner.tolist() == [0, 0]
    assert found.labels.tolist() == [[0, 0, 2, 1, 1], [0, 0, 2, 1, 1]]


def test_small_parts_belong_to_nobody() -> None:
    found = split(labels("01000"), [0], smallest=2)

    assert found.owner.tolist() == [0]
    assert found.labels.tolist() == [[1, 1, 0, 0, 0]]


def test_a_class_that_stays_whole_is_one_region_of_all_its_parts_however_small() -> None:
    found = split(labels("0210", "0010"), [0, 1, 2], smallest=2, whole={0, 2})

    assert found.owner.tolist() == [0, 1, 2]
    assert found.labels.tolist() == [[0, 2, 1, 0], [0, 0, 1, 0]]


@given(maps)
def test_regions_are_disjoint_and_cover_their_classes(given_map: NDArray[np.uint8]) -> None:
    found = split(given_map, [0, 1, 2], smallest=1)

    owners = np.append(found.owner, 3)[found.labels]

    assert np.array_equal(owners, given_map)
