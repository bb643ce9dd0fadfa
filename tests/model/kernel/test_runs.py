"""Run lengths compiled and by numpy: the same bytes, areas and boxes; pycocotools reads them as the masks they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.rle import encode_label_map
from tests.kernel import both_ways


def assert_equal(labels: NDArray[np.unsignedinteger], n_classes: int) -> None:
    compiled, plain = both_ways(lambda: encode_label_map(labels, n_classes))

    assert compiled == plain


@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16]),
        array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.integers(0, 4),
    ),
    st.integers(0, 6),
)
def test_any_map(labels: NDArray[np.unsignedinteger], n_classes: int) -> None:
    assert_equal(labels, n_classes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (1, 77), (77, 1), (64, 64), (203, 149), (150, 700)])
@pytest.mark.parametrize("side", [1, 2, 9, 64])
def test_blocks(size: tuple[int, int], side: int, dtype: type[np.unsignedinteger]) -> None:
    random = np.random.default_rng(side)
    coarse = random.integers(0, 7, (size[0] // side + 1, size[1] // side + 1)).astype(dtype)

    assert_equal(coarse.repeat(side, 0).repeat(side, 1)[: size[0], : size[1]], 6)


def test_values_that_differ_in_their_upper_byte_alone() -> None:
    labels = np.array([[1, 257, 257], [257, 1, 257], [1, 1, 256]], np.uint16).repeat(5, 0).repeat(6, 1)

    assert_equal(labels, 300)


def test_a_map_in_columns() -> None:
    labels = np.random.default_rng(3).integers(0, 3, (30, 41)).astype(np.uint8)

    assert_equal(np.asfortranarray(labels), 3)


def test_runs_of_millions_of_pixels() -> None:
    labels = np.zeros((3000, 2000), np.uint8)
    labels[1500:, 700:] = 1
    labels[2999, 1999] = 2

    assert_equal(labels, 4)
