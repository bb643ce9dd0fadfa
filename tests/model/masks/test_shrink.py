"""A photograph at the size of a network's input: to the bit what OpenCV makes of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.masks.shrink import shrink
from tests.kernel import require_kernel


def drawn(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


def by_opencv(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    resized = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((480, 640), (288, 384)),
        ((333, 500), (288, 416)),
        ((300, 500), (288, 288)),
        ((288, 500), (288, 416)),  # one side stays
        ((576, 768), (288, 384)),  # a half of both
        ((576, 700), (288, 384)),  # a half of one
        ((200, 900), (288, 608)),  # one side grows
        ((97, 31), (96, 16)),
    ],
)
def test_pixels_are_opencvs(image: tuple[int, int], size: tuple[int, int]) -> None:
    require_kernel()
    rgb = drawn(*image)

    np.testing.assert_array_equal(shrink(rgb, size), by_opencv(rgb, size))


def test_pixels_of_any_size_are_opencvs() -> None:
    require_kernel()
    random = np.random.default_rng(0)
    for _ in range(200):
        height, width = random.integers(8, 60, 2).tolist()
        more = random.integers(0, 120, 2).tolist()
        rgb = drawn(height + more[0], width + more[1])

        np.testing.assert_array_equal(shrink(rgb, (height, width)), by_opencv(rgb, (height, width)))


def test_a_view_of_a_picture_is_read_as_it_looks() -> None:
    rgb = drawn(400, 500)[::-1, 7:]

    np.testing.assert_array_equal(shrink(rgb, (100, 96)), by_opencv(np.ascontiguousarray(rgb), (100, 96)))
