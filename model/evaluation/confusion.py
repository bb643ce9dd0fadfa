"""mIoU and pixel accuracy from one confusion matrix over a whole data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """In percent. `per_class` is NaN for a class that neither appears nor was predicted."""

    miou: float
    pixel_accuracy: float
    per_class: NDArray[np.float64]


def confusion(truth: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> NDArray[np.int64]:
    """Counts [n, n]: rows are the true class, columns the predicted one.

    Args:
        truth: any shape; values >= n_classes are ignored.
        predicted: the same shape; values < n_classes.
        n_classes: how many classes.
    """
    counted = truth < n_classes
    pairs = truth[counted].astype(np.int64) * n_classes + predicted[counted]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def scores(counts: NDArray[np.int64]) -> Scores:
    """IoU of each class = intersection / union over all images; mIoU over the classes that appear in the truth."""
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        per_class = 100 * hits / union
    present = counts.sum(1) > 0
    miou = float(np.mean(per_class[present])) if present.any() else float("nan")
    return Scores(miou, float(100 * hits.sum() / max(1, counts.sum())), per_class)
