"""Connected regions by the kernel and by OpenCV: the same map, in the same order, with the same sums."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.regions import Regions, split, sum_by_region
from tests.kernel import both_ways


def assert_equal(labels: NDArray[np.unsignedinteger], classes: list[int], smallest: int, whole: set[int]) -> Regions:
    compiled, plain = both_ways(lambda: split(labels, classes, smallest, whole))

    np.testing.assert_array_equal(compiled.labels, plain.labels)
    np.testing.assert_array_equal(compiled.owner, plain.owner)
    assert compiled.labels.dtype == plain.labels.dtype
    assert compiled.owner.dtype == plain.owner.dtype
    return plain


@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16]),
        array_shapes(min_dims=2, max_dims=2, max_side=30),
        elements=st.integers(0, 3),
    ),
    st.permutations([0, 1, 2, 5]),
    st.integers(1, 4),
    st.sets(st.integers(0, 3)),
)
def test_any_map(labels: NDArray[np.unsignedinteger], classes: list[int], smallest: int, whole: set[int]) -> None:
    assert_equal(labels, classes, smallest, whole)


def test_more_regions_than_there_are_numbers_for() -> None:
    labels = (np.indices((400, 400)).sum(0) % 2).astype(np.uint8)  # every pixel for itself

    regions = assert_equal(labels, [1, 0], 1, set())

    assert len(regions.owner) == 65_534


def test_sums_of_what_lies_in_regions() -> None:
    random = np.random.default_rng(0)
    regions = split(random.integers(0, 3, (60, 70)).astype(np.uint8).repeat(3, 1), [0, 1], 5)
    values = random.random(regions.labels.shape, np.float32)

    compiled, plain = both_ways(lambda: sum_by_region(regions, values))

    np.testing.assert_allclose(compiled, plain, rtol=1e-9)
