from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from lexiseg_model.data.polygon_fill import fill_polygon
from lexiseg_model.errors import DatasetError
from tests.coco import decode

ROUNDED = 0.2  # pixels: COCO's tools draw a border on a grid of fifths


def distances(points: NDArray[np.floating], corners: NDArray[np.floating]) -> NDArray[np.floating]:
    """Of points [N, 2] from the border through corners [K, 2]: [N]."""
    along = np.roll(corners, -1, 0) - corners  # [K, 2]
    part = ((points[:, None] - corners) * along).sum(2) / (along**2).sum(1).clip(1e-6)  # [N, K], to the nearest place
    nearest = corners + part.clip(0, 1)[..., None] * along
    away: NDArray[np.floating] = np.linalg.norm(points[:, None] - nearest, axis=2).min(1)
    return away


def test_a_rectangle_fills_the_pixels_between_its_corners() -> None:
    mask = fill_polygon([1, 2, 4, 2, 4, 5, 1, 5], (7, 6))

    expected = np.zeros((7, 6), bool)
    expected[2:5, 1:4] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_pixel_belongs_when_its_centre_does() -> None:
    mask = fill_polygon([0.6, 0.4, 2.6, 0.4, 2.6, 1.4, 0.6, 1.4], (2, 4))

    assert mask.tolist() == [[False, True, True, False], [False, False, False, False]]


def test_what_lies_beyond_the_image_is_cut_off() -> None:
    assert fill_polygon([-5, -5, 50, -5, 50, 50, -5, 50], (3, 4)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 9), st.integers(0, 10_000))
def test_it_agrees_with_coco_but_for_the_border(n_corners: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, n_corners))
    radius = random.uniform(20, 60, n_corners)
    corners = np.stack([70 + radius * np.cos(angle), 65 + radius * np.sin(angle)], 1)
    ring = corners.round(2).reshape(-1).tolist()

    ours = fill_polygon(ring, (130, 140))

    theirs = decode(coco.frPyObjects([ring], 130, 140)[0])
    y, x = np.nonzero(ours != theirs)
    away = distances(np.stack([x, y], 1) + 0.5, np.reshape(ring, (-1, 2)))
    assert away.max(initial=0) <= ROUNDED


@pytest.mark.parametrize("ring", [[0, 0, 4, 4], [0, 0, 4, 0, 4]])
def test_less_than_three_corners_are_an_error(ring: list[float]) -> None:
    with pytest.raises(DatasetError, match=f"a polygon of {len(ring)} coordinates"):
        fill_polygon(ring, (5, 5))
