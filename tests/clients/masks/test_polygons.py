"""Masks to polygons and back, with numpy alone, as the service makes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_client import Ring, UnreadableAnswer
from lexiseg_client.masks.polygons import fill, one_loop, rings_of, simplified
from lexiseg_model.masks.polygons import rings_of as rings_of_model
from lexiseg_model.masks.rle import encode_mask

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16))


@given(masks)
def test_the_rings_are_those_of_the_service(mask: NDArray[np.bool_]) -> None:
    of_service = rings_of_model(encode_mask(mask))
    theirs = {(tuple(ring.exterior), tuple(sorted(tuple(hole) for hole in ring.holes))) for ring in of_service}

    assert {
        (tuple(ring.exterior.ravel().tolist()), tuple(sorted(tuple(hole.ravel().tolist()) for hole in ring.holes)))
        for ring in rings_of(mask)
    } == theirs


@given(masks)
def test_a_mask_comes_back_from_its_rings_and_from_one_line(mask: NDArray[np.bool_]) -> None:
    outlined = rings_of(mask)

    assert np.array_equal(fill(outlined, mask.shape), mask)
    assert np.array_equal(fill([Ring(one_loop(outlined))], mask.shape), mask)


@pytest.mark.parametrize("tolerance", [1.0, 2.0])
def test_a_disc_with_a_hole_keeps_its_shape_with_far_fewer_corners(tolerance: float) -> None:
    y, x = np.mgrid[:400, :400]
    distance = np.hypot(x - 200, y - 200)
    mask = (distance < 180) & (distance > 60)
    (exact,) = rings_of(mask)

    (ring,) = simplified((exact,), tolerance)

    assert len(ring.exterior) + len(ring.holes[0]) < (len(exact.exterior) + len(exact.holes[0])) / 5
    again = fill([ring], mask.shape)
    assert (again & mask).sum() > 0.97 * (again | mask).sum()


@pytest.mark.parametrize("corners", [[[0, 0], [9, 0], [9, 2], [0, 2]], [[-1, 0], [1, 0]]])
def test_a_ring_that_leaves_the_image_is_refused(corners: list[list[int]]) -> None:
    with pytest.raises(UnreadableAnswer):
        fill([Ring(np.array(corners))], (4, 4))
