"""Polygons back to masks, as the service outlines them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_client import Ring, UnreadableAnswer
from lexiseg_client.answers.polygons import fill
from lexiseg_model.masks.polygons import rings


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16)))
def test_any_outlined_mask_comes_back(mask: NDArray[np.bool_]) -> None:
    outlined = [
        Ring(
            np.array(ring.exterior).reshape(-1, 2),
            tuple(np.array(hole).reshape(-1, 2) for hole in ring.holes),
        )
        for ring in rings(mask)
    ]

    assert np.array_equal(fill(outlined, mask.shape), mask)


@pytest.mark.parametrize("corners", [[[0, 0], [9, 0], [9, 2], [0, 2]], [[-1, 0], [1, 0]]])
def test_a_ring_that_leaves_the_image_is_refused(corners: list[list[int]]) -> None:
    with pytest.raises(UnreadableAnswer):
        fill([Ring(np.array(corners))], (4, 4))


def test_a_slanted_side_takes_the_pixels_whose_centres_are_inside() -> None:
    expected = np.tri(4, 4, -1, dtype=bool) | np.eye(4, dtype=bool)

    assert np.array_equal(fill([Ring(np.array([[0, 0], [5, 5], [0, 5]]))], (5, 5))[1:, :4], expected)
