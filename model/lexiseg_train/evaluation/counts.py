"""mIoU and pixel accuracy from counts that add up over images and processes.

Three conventions of the mean differ in classes that no image contains:

- `mmseg` (mmsegmentation; TCL and the CLIP family): left out, but 0 if predicted;
- `detectron2` (OpenSeg, FC-CLIP, Unpair-Seg; `lexiseg eval` on a folder): left out;
- `imagenet-s` (LUSSeg/ImageNet-S, evaluation/): 0; 1e-10 is added to the union of every class.

Pixels with an ignored truth never count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ShapeError
from lexiseg_train.data.benchmark import Convention

CONVENTIONS: tuple[Convention, ...] = ("mmseg", "detectron2", "imagenet-s")
EPSILON = 1e-10  # LUSSeg/ImageNet-S, evaluation/
# [3, n]: pixels of each class that are correct, in the truth, and predicted (where the truth counts).
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Percent; `per_class` is NaN for a class that neither appears nor was predicted."""

    miou: float
    pixel_accuracy: float
    per_class: NDArray[np.float64]


def count(truth: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int) -> Counts:
    """Counts of one image; its truth may hold values >= `n_classes`, which are ignored, its prediction none."""
    if truth.shape != predicted.shape:
        raise ShapeError(f"labels {predicted.shape} for a truth of {truth.shape}")
    counted = truth < n_classes
    truth, predicted = truth[counted], predicted[counted]
    return np.stack([np.bincount(each, minlength=n_classes) for each in (truth[truth == predicted], truth, predicted)])


def scores(counts: Counts, convention: Convention = "detectron2") -> Scores:
    """IoU of each class over all images, and their mean by a convention, NaN where no class counts."""
    hits, truth, predicted = counts
    union = truth + predicted - hits
    with np.errstate(invalid="ignore"):
        per_class = 100 * hits / np.where(union > 0, union, np.nan)
    if convention == "imagenet-s":
        averaged = 100 * hits / (union + EPSILON)
    else:
        averaged = per_class[(union if convention == "mmseg" else truth) > 0]
    miou = float(averaged.mean()) if averaged.size else float("nan")
    return Scores(miou, float(100 * hits.sum() / max(1, truth.sum())), per_class)


def rounded(value: float) -> float | None:
    """A figure in a report: two decimals, None where there was nothing to measure."""
    return None if math.isnan(value) else round(value, 2)
