"""Polygons go along the borders of pixels: nothing is lost on the way there and back."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lexiseg_model.masks.polygons import fill, rings
from lexiseg_model.types import Ring

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def shoelace(flat: list[int]) -> float:
    x, y = np.array(flat).reshape(-1, 2).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


@given(masks)
def test_a_mask_comes_back_from_its_polygons(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(fill(rings(mask), (mask.shape[0], mask.shape[1])), mask)


@given(masks)
def test_each_part_connected_by_sides_has_one_ring(mask: NDArray[np.bool_]) -> None:
    n_labels, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)

    assert len(rings(mask)) == n_labels - 1


@given(masks)
def test_exteriors_less_holes_have_the_area_of_the_mask(mask: NDArray[np.bool_]) -> None:
    found = rings(mask)

    area = sum(shoelace(ring.exterior) + sum(shoelace(hole) for hole in ring.holes) for ring in found)

    assert area == mask.sum()
    assert all(shoelace(hole) < 0 for ring in found for hole in ring.holes)


@given(masks)
def test_a_ring_turns_at_every_corner(mask: NDArray[np.bool_]) -> None:
    for ring in rings(mask):
        for flat in (ring.exterior, *ring.holes):
            steps = np.diff(np.array([*flat, *flat[:2]]).reshape(-1, 2), axis=0)
            assert ((steps != 0).sum(1) == 1).all()
            assert (np.diff((steps[:, 0] != 0).astype(int)) != 0).all()


@given(masks, st.tuples(st.integers(0, 50), st.integers(0, 50)))
def test_an_offset_moves_every_corner(mask: NDArray[np.bool_], offset: tuple[int, int]) -> None:
    here, there = rings(mask), rings(mask, offset)

    moved = [[value + offset[i % 2] for i, value in enumerate(ring.exterior)] for ring in here]

    assert [ring.exterior for ring in there] == moved


def test_a_frame_has_one_hole() -> None:
    mask = np.ones((3, 4), bool)
    mask[1, 1:3] = False

    (ring,) = rings(mask)

    assert shoelace(ring.exterior) == 12
    assert [shoelace(hole) for hole in ring.holes] == [-2]


def test_an_empty_mask_has_no_rings() -> None:
    assert rings(np.zeros((3, 3), bool)) == []


def test_parts_come_largest_first() -> None:
    mask = np.zeros((4, 8), bool)
    mask[0, 0] = True
    mask[1:4, 3:7] = True

    assert [shoelace(ring.exterior) for ring in rings(mask)] == [12, 1]


def test_no_rings_fill_nothing() -> None:
    assert not fill([], (2, 3)).any()


def test_a_hand_written_square_is_filled() -> None:
    expected = np.zeros((4, 4), bool)
    expected[1:3, 1:3] = True

    assert np.array_equal(fill([Ring([1, 1, 3, 1, 3, 3, 1, 3], [])], (4, 4)), expected)
