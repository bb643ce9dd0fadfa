"""Polygons run along the borders of pixels, so a mask comes back from them exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.polygons import rings_of
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.types import Ring
from tests.model.masks.filled import fill

pytestmark = pytest.mark.usefixtures("each_way")

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def rings(mask: NDArray[np.bool_]) -> list[Ring]:
    return rings_of(encode_mask(mask))


def shoelace(flat: list[int]) -> float:
    x, y = np.array(flat).reshape(-1, 2).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


@given(masks)
def test_a_mask_comes_back_from_its_polygons(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(fill(rings(mask), mask.shape), mask)


@given(masks)
def test_exteriors_run_clockwise_and_holes_against_it(mask: NDArray[np.bool_]) -> None:
    found = rings(mask)

    assert all(shoelace(ring.exterior) > 0 for ring in found)
    assert all(shoelace(hole) < 0 for ring in found for hole in ring.holes)


def test_parts_come_largest_first() -> None:
    mask = np.zeros((4, 8), bool)
    mask[0, 0] = True
    mask[1:4, 3:7] = True

    assert [shoelace(ring.exterior) for ring in rings(mask)] == [12, 1]


def test_an_empty_mask_has_no_rings() -> None:
    assert rings(np.zeros((3, 3), bool)) == []


def test_a_simplified_border_keeps_near_the_mask_and_every_part() -> None:
    y, x = np.mgrid[:80, :80]
    mask = (np.hypot(x - 40, y - 40) < 30) & (np.hypot(x - 40, y - 40) > 12)
    mask[2, 2] = True  # too small for anything to be left of it

    exact, simple = rings(mask), rings_of(encode_mask(mask), simplify=2.0)

    assert [len(ring.holes) for ring in simple] == [1, 0]
    assert len(simple[0].exterior) < len(exact[0].exterior) / 4
    assert abs(shoelace(simple[0].exterior) - shoelace(exact[0].exterior)) < 0.1 * mask.sum()
