"""mIoU and pixel accuracy against scikit-learn, and the three conventions against their own definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from lexiseg_model.errors import ShapeError
from lexiseg_model.evaluation.counts import count, scores

Maps = tuple[NDArray[np.uint16], NDArray[np.uint16]]
IGNORED = 65535


def random_maps(n_classes: int, seed: int, ignored: float = 0.1) -> Maps:
    """True and predicted labels [40, 50] that agree on about half of the pixels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, (40, 50))
    predicted = np.where(random.random(truth.shape) < 0.5, truth, random.integers(0, n_classes, truth.shape))
    truth = np.where(random.random(truth.shape) < ignored, IGNORED, truth)
    return truth.astype(np.uint16), predicted.astype(np.uint16)


@pytest.mark.parametrize(("n_classes", "seed"), [(1, 0), (2, 1), (5, 2), (21, 3), (150, 4), (847, 5)])
def test_every_iou_is_that_of_scikit_learn(n_classes: int, seed: int) -> None:
    truth, predicted = random_maps(n_classes, seed)
    counted = truth != IGNORED

    per_class = scores(count(truth, predicted, n_classes)).per_class

    labels = np.union1d(truth[counted], predicted[counted])
    expected = np.full(n_classes, np.nan)
    expected[labels] = 100 * jaccard_score(truth[counted], predicted[counted], labels=labels, average=None)
    np.testing.assert_allclose(per_class, expected)


@pytest.mark.parametrize("ignored", [2, 255, IGNORED])
def test_ignored_pixels_count_nowhere(ignored: int) -> None:
    counts = count(np.array([ignored, ignored, 1]), np.array([0, 1, 1]), 2)

    assert (counts.hits.tolist(), counts.truth.tolist(), counts.predicted.tolist()) == ([0, 1], [0, 1], [0, 1])


@pytest.mark.parametrize(
    ("convention", "absent", "only_predicted"),
    # Class 0 is half right, class 1 is absent from the truth: left out, or counted as 0.
    [("mmseg", 100.0, 25.0), ("detectron2", 100.0, 50.0), ("imagenet-s", 50.0, 25.0)],
)
def test_conventions_differ_in_classes_that_are_absent(convention: str, absent: float, only_predicted: float) -> None:
    nobody_said = count(np.array([0, 0]), np.array([0, 0]), 2)
    somebody_said = count(np.array([0, 0]), np.array([0, 1]), 2)

    assert scores(nobody_said, convention).miou == pytest.approx(absent)  # type: ignore[arg-type]
    assert scores(somebody_said, convention).miou == pytest.approx(only_predicted)  # type: ignore[arg-type]


def test_without_a_counted_pixel_there_is_no_miou() -> None:
    result = scores(count(np.array([255, 255]), np.array([0, 1]), 2))

    assert math.isnan(result.miou)
    assert result.pixel_accuracy == 0


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"labels \(2, 3\) for a truth of \(3, 2\)"):
        count(np.zeros((3, 2), int), np.zeros((2, 3), int), 2)
