"""Masks cut and encoded by the kernel and by numpy: the same runs, the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import encode_spans, measure_spans
from tests.kernel import both_ways


def assert_equal(logits: NDArray[np.float32], size: tuple[int, int]) -> None:
    compiled, plain = both_ways(lambda: cut(logits, size))

    np.testing.assert_array_equal(compiled, plain)
    for read in (encode_spans, measure_spans):
        encoded, reference = both_ways(lambda read=read: read(plain, size))  # type: ignore[misc]
        assert encoded == reference


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-3, 3, width=16)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
@settings(max_examples=300)
def test_any_mask_at_any_size(logits: NDArray[np.float32], size: tuple[int, int]) -> None:
    assert_equal(logits, size)


@pytest.mark.parametrize("size", [(480, 640), (1081, 33), (7, 501), (20, 30)])
@pytest.mark.parametrize("coarse", [3, 40])
def test_masks_of_networks(size: tuple[int, int], coarse: int) -> None:
    random = np.random.default_rng(coarse)
    logits = random.normal(size=(coarse, coarse)).astype(np.float32).repeat(2, 0).repeat(3, 1)

    assert_equal(logits, size)


@pytest.mark.parametrize("value", [-1.0, -0.0, 0.0, 1e-30, -1e-38, 2.0])
def test_masks_of_one_value(value: float) -> None:
    assert_equal(np.full((5, 6), value, np.float32), (41, 57))
