"""mIoU and pixel accuracy from counts that add up over images, machines and runs that were stopped half-way.

Three conventions of the mean differ in what becomes of a class that no image of the set contains:

- `mmseg` (mmsegmentation; TCL and the CLIP family): left out, unless somebody predicted it, when it counts as 0;
- `detectron2` (OpenSeg, FC-CLIP, Unpair-Seg; also `lexiseg eval` on a folder of one's own): left out in any case;
- `imagenet-s` (LUSSeg/ImageNet-S, evaluation/): counts as 0 in any case; the mean goes over all classes, class 0 among
  them, with 1e-10 added to the union.

A pixel whose truth is ignored counts nowhere, whatever was predicted there, in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.benchmark import Convention
from lexiseg_model.errors import ShapeError

CONVENTIONS: tuple[Convention, ...] = ("mmseg", "detectron2", "imagenet-s")
EPSILON = 1e-10  # LUSSeg/ImageNet-S, evaluation/


@dataclass(frozen=True)
class Scores:
    """In percent. `per_class` is NaN for a class that neither appears nor was predicted."""

    miou: float
    pixel_accuracy: float
    per_class: NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Pixels of each class [n] int64: found rightly, in the truth, predicted (where the truth counts)."""

    hits: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @classmethod
    def none(cls, n_classes: int) -> Counts:
        """Those of no image."""
        return cls(*np.zeros((3, n_classes), np.int64))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.truth + other.truth, self.predicted + other.predicted)


def count(truth: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> Counts:
    """Counts of one image.

    Args:
        truth: any shape; values >= n_classes are ignored.
        predicted: the same shape; values < n_classes.
        n_classes: how many classes.

    Raises:
        ShapeError: the two differ in shape.
    """
    if truth.shape != predicted.shape:
        raise ShapeError(f"labels {predicted.shape} for a truth of {truth.shape}")
    counted = truth < n_classes
    truth, predicted = truth[counted], predicted[counted]
    return Counts(
        np.bincount(truth[truth == predicted], minlength=n_classes),
        np.bincount(truth, minlength=n_classes),
        np.bincount(predicted, minlength=n_classes),
    )


def scores(counts: Counts, convention: Convention = "detectron2") -> Scores:
    """IoU of each class = intersection / union over all images, and their mean by one of the conventions.

    The mean is NaN where no class counts.
    """
    union = counts.truth + counts.predicted - counts.hits
    with np.errstate(invalid="ignore"):
        per_class = 100 * counts.hits / np.where(union > 0, union, np.nan)
    if convention == "imagenet-s":
        averaged = 100 * counts.hits / (union + EPSILON)
    else:
        averaged = per_class[(union if convention == "mmseg" else counts.truth) > 0]
    miou = float(averaged.mean()) if averaged.size else float("nan")
    return Scores(miou, float(100 * counts.hits.sum() / max(1, counts.truth.sum())), per_class)
