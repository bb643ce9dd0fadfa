"""Borders of masks by the kernel and by numpy: the same corners in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.polygons import rings_of
from lexiseg_model.masks.rle import encode_mask
from tests.kernel import both_ways


def assert_equal(mask: NDArray[np.bool_]) -> None:
    rle = encode_mask(mask)

    compiled, plain = both_ways(lambda: rings_of(rle))

    assert compiled == plain


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
@settings(max_examples=500)
def test_any_mask(mask: NDArray[np.bool_]) -> None:
    assert_equal(mask)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (93, 120)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_noise(size: tuple[int, int], share: float) -> None:
    assert_equal(np.random.default_rng(1).random(size) < share)


def test_parts_inside_the_holes_of_others() -> None:
    mask = np.zeros((40, 50), bool)
    for inset in range(0, 18, 2):
        mask[inset : 40 - inset, inset : 50 - inset] = inset % 4 == 0

    assert_equal(mask)
    assert [len(ring.holes) for ring in rings_of(encode_mask(mask))] == [1, 1, 1, 1, 0]
