"""Random crops: shapes, labels that stay with their pixels, ignored borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.training.augment import random_crop

STRIDE = 4


def checkered(height: int, width: int, cell: int = 24) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A black and white image; class 1 is where it is white."""
    y, x = np.mgrid[:height, :width]
    mask = ((y // cell + x // cell) % 2).astype(np.uint8)
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), mask


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([32, 64]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_crop_of_any_photograph_has_the_wanted_size(height: int, width: int, size: int, seed: int) -> None:
    image, mask = checkered(height, width)

    crop, labels = random_crop(image, mask, size, STRIDE, np.random.default_rng(seed))

    assert crop.shape == (size, size, 3)
    assert labels.shape == (size // STRIDE, size // STRIDE)
    assert crop.dtype == labels.dtype == np.uint8


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_labels_hold_only_values_of_the_mask_or_ignore(seed: int) -> None:
    image, mask = checkered(60, 80)

    _, labels = random_crop(image, mask * 7, 64, STRIDE, np.random.default_rng(seed))

    assert set(np.unique(labels)) <= {0, 7, IGNORE}


def test_labels_stay_with_their_pixels() -> None:
    image, mask = checkered(120, 160)
    agreed = []
    for seed in range(20):
        crop, labels = random_crop(image, mask, 64, STRIDE, np.random.default_rng(seed))
        gray = crop[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].mean(2)
        counted = labels != IGNORE
        # Colours change in a crop, but what was white stays lighter than what was black.
        middle = (gray[counted].min() + gray[counted].max()) / 2
        agreed.append(((gray > middle) == (labels == 1))[counted].mean())

    assert np.mean(agreed) > 0.95


def test_what_lies_outside_the_photograph_is_ignored() -> None:
    image = np.full((20, 200, 3), 255, np.uint8)
    outside = []
    for seed in range(30):
        _, labels = random_crop(image, np.ones((20, 200), np.uint8), 64, STRIDE, np.random.default_rng(seed))
        outside.append((labels == IGNORE).any())
        assert set(np.unique(labels)) <= {1, IGNORE}

    assert any(outside)


def test_the_same_source_of_chance_gives_the_same_crop() -> None:
    image, mask = checkered(60, 80)
    first, second = (random_crop(image, mask, 64, STRIDE, np.random.default_rng(5)) for _ in range(2))

    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_different_chances_give_different_crops() -> None:
    image, mask = checkered(60, 80)
    first, second = (random_crop(image, mask, 64, STRIDE, np.random.default_rng(seed))[0] for seed in (1, 2))

    assert (first != second).any()


def test_the_photograph_and_its_mask_are_left_alone() -> None:
    image, mask = checkered(60, 80)
    before = image.copy(), mask.copy()

    random_crop(image, mask, 64, STRIDE, np.random.default_rng(0))

    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_a_small_class_is_in_more_crops_than_its_share_of_pixels() -> None:
    image, mask = checkered(240, 240, cell=1000)
    mask[200:232, 200:232] = 3  # 2 % of the pixels

    seen = [(random_crop(image, mask, 64, STRIDE, np.random.default_rng(seed))[1] == 3).any() for seed in range(100)]

    assert np.mean(seen) > 0.3


@pytest.mark.parametrize("fill", [IGNORE, 0], ids=["all ignored", "all background"])
def test_a_mask_of_one_value_can_be_cropped(fill: int) -> None:
    image = np.zeros((60, 80, 3), np.uint8)

    _, labels = random_crop(image, np.full((60, 80), fill, np.uint8), 64, STRIDE, np.random.default_rng(0))

    assert set(np.unique(labels)) <= {fill, IGNORE}
