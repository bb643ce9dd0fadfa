"""mIoU and pixel accuracy against a computation class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from model.evaluation.confusion import confusion, scores

Maps = tuple[NDArray[np.uint8], NDArray[np.int64]]


def random_maps(n_classes: int, seed: int, ignored: float = 0.1) -> Maps:
    """True and predicted labels [40, 50] that agree on about half of the pixels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, (40, 50))
    predicted = np.where(random.random(truth.shape) < 0.5, truth, random.integers(0, n_classes, truth.shape))
    return np.where(random.random(truth.shape) < ignored, 255, truth).astype(np.uint8), predicted


def iou_of(truth: NDArray[np.uint8], predicted: NDArray[np.int64], value: int) -> float:
    counted = truth != 255
    union = ((truth == value) | (predicted == value)) & counted
    both = (truth == value) & (predicted == value)
    return 100 * both.sum() / union.sum() if union.any() else math.nan


@pytest.mark.parametrize(("n_classes", "seed"), [(1, 0), (2, 1), (5, 2), (21, 3), (150, 4)])
def test_every_iou_is_intersection_over_union(n_classes: int, seed: int) -> None:
    truth, predicted = random_maps(n_classes, seed)

    per_class = scores(confusion(truth, predicted, n_classes)).per_class

    np.testing.assert_allclose(per_class, [iou_of(truth, predicted, value) for value in range(n_classes)])


@pytest.mark.parametrize(("n_classes", "seed"), [(2, 1), (5, 2), (21, 3)])
def test_miou_is_the_mean_over_classes(n_classes: int, seed: int) -> None:
    truth, predicted = random_maps(n_classes, seed)

    expected = np.mean([iou_of(truth, predicted, value) for value in range(n_classes)])
    assert scores(confusion(truth, predicted, n_classes)).miou == pytest.approx(expected)


def test_pixel_accuracy_is_the_share_of_counted_pixels_that_agree() -> None:
    truth, predicted = random_maps(7, 5)

    expected = 100 * (truth == predicted).sum() / (truth != 255).sum()
    assert scores(confusion(truth, predicted, 7)).pixel_accuracy == pytest.approx(expected)


def test_rows_are_the_truth_and_columns_the_prediction() -> None:
    counts = confusion(np.array([0, 0, 1]), np.array([1, 1, 1]), 2)

    assert counts.tolist() == [[0, 2], [0, 1]]


def test_counts_of_images_add_up_to_those_of_all_pixels() -> None:
    maps = [random_maps(4, seed) for seed in range(3)]

    together = confusion(np.stack([truth for truth, _ in maps]), np.stack([labels for _, labels in maps]), 4)

    np.testing.assert_array_equal(together, sum(confusion(truth, labels, 4) for truth, labels in maps))


def test_ignored_pixels_count_nowhere() -> None:
    counts = confusion(np.array([255, 255, 1], np.uint8), np.array([0, 1, 1]), 2)

    assert counts.tolist() == [[0, 0], [0, 1]]


def test_a_class_that_nobody_saw_or_said_is_left_out_of_the_mean() -> None:
    result = scores(confusion(np.array([0, 1]), np.array([0, 1]), 3))

    assert math.isnan(result.per_class[2])
    assert result.miou == 100


def test_a_class_that_is_only_predicted_costs_others_but_is_not_in_the_mean() -> None:
    result = scores(confusion(np.array([0, 0]), np.array([0, 1]), 2))

    assert result.per_class.tolist() == [50, 0]
    assert result.miou == 50


def test_a_class_that_is_never_found_counts_as_zero() -> None:
    assert scores(confusion(np.array([0, 1]), np.array([0, 0]), 2)).miou == 25


def test_without_a_counted_pixel_there_is_no_miou() -> None:
    result = scores(confusion(np.array([255, 255]), np.array([0, 1]), 2))

    assert math.isnan(result.miou)
    assert result.pixel_accuracy == 0
