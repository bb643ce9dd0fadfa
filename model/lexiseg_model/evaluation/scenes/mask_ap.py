"""COCO's mask AP by pycocotools."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lexiseg_model.data.scenes import Annotation

# In the order of pycocotools' statistics. AP is the mean over IoU thresholds 0.50 to 0.95; sizes are 32 and 96 squared.
MEASURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
ABSENT = -1.0  # pycocotools' value for a class or a size without instances


class ImageInstances(NamedTuple):
    """One image: size (height, width), annotated instances, and predicted ones with a `score` each."""

    size: tuple[int, int]
    truth: list[Annotation]
    answer: list[Annotation]


class MaskAp(NamedTuple):
    """Percent, NaN where no instance is annotated: COCO's measures by name, and AP of each class [n]."""

    whole: dict[str, float]
    per_class: NDArray[np.float64]


def mask_ap(images: Sequence[ImageInstances], n_classes: int) -> MaskAp:
    """AP of masks; at most 100 predictions of a class count in an image.

    Args:
        images: of the whole split; `category_id` is the index of the class, plus 1.
        n_classes: number of classes.
    """
    if not any(image.truth for image in images):
        return MaskAp(dict.fromkeys(MEASURES, float("nan")), np.full(n_classes, np.nan))
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": number, "height": image.size[0], "width": image.size[1]} for number, image in enumerate(images, 1)
        ],
        "categories": [{"id": index + 1, "name": str(index)} for index in range(n_classes)],
        "annotations": _numbered([image.truth for image in images]),
    }
    keys = ("image_id", "category_id", "segmentation", "score")  # with a box its area would replace the mask's
    answers = [{key: entry[key] for key in keys} for entry in _numbered([image.answer for image in images])]
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        empty = COCO()
        empty.dataset = truth.dataset | {"annotations": []}
        if not answers:
            empty.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(answers) if answers else empty, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]  # [thresholds, recalls, classes] of all sizes
    per_class = np.array([_mean(precision[:, :, index]) for index in range(n_classes)])
    whole = {name: _percent(float(value)) for name, value in zip(MEASURES, evaluation.stats, strict=False)}
    return MaskAp(whole, per_class)


def _numbered(by_image: Sequence[list[Annotation]]) -> list[Annotation]:
    """Annotations of all images with `id` and `image_id`, both from 1: pycocotools reads a match with 0 as none."""
    placed = [(number, entry) for number, entries in enumerate(by_image, 1) for entry in entries]
    return [entry | {"id": index, "image_id": number} for index, (number, entry) in enumerate(placed, 1)]


def _mean(precision: NDArray[np.float64]) -> float:
    there = precision[precision > ABSENT]
    return float(100 * there.mean()) if there.size else float("nan")


def _percent(value: float) -> float:
    return float("nan") if value == ABSENT else 100 * value
