"""COCO's mask AP, computed by faster-coco-eval from what was kept of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.coco_library import coco_library
from lexiseg_model.data.scenes import Annotation

# Ours and the library's names. AP is the mean over IoU thresholds 0.50 to 0.95, sizes are COCO's: 32 and 96 squared.
MEASURES = {
    "ap": "AP_all",
    "ap50": "AP_50",
    "ap75": "AP_75",
    "ap_small": "AP_small",
    "ap_medium": "AP_medium",
    "ap_large": "AP_large",
}
NOT_THERE = -1.0  # what the library says of a class or a size without a single instance


class ImageInstances(NamedTuple):
    """One image: size (height, width), the annotated instances, and the answered ones with a `score` each."""

    size: tuple[int, int]
    truth: list[Annotation]
    answer: list[Annotation]


class MaskAp(NamedTuple):
    """In percent, NaN where no instance is annotated: COCO's measures by their names here, and AP of each class [n]."""

    whole: dict[str, float]
    per_class: NDArray[np.float64]


def mask_ap(images: Sequence[ImageInstances], n_classes: int) -> MaskAp:
    """AP of masks; at most 100 answers of a class count in an image.

    Args:
        images: of the whole split; `category_id` is the index of the class, plus 1.
        n_classes: how many classes.

    Raises:
        OptionError: faster-coco-eval is not installed.
    """
    if not any(image.truth for image in images):
        return MaskAp(dict.fromkeys(MEASURES, float("nan")), np.full(n_classes, np.nan))
    library = coco_library()
    truth = library.COCO(
        {
            "images": [
                {"id": number, "height": image.size[0], "width": image.size[1]}
                for number, image in enumerate(images, 1)
            ],
            "categories": [{"id": index + 1, "name": str(index)} for index in range(n_classes)],
            "annotations": _numbered([image.truth for image in images]),
        }
    )
    answers = truth.loadRes([_result(entry) for entry in _numbered([image.answer for image in images])])
    evaluation = library.COCOeval_faster(truth, answers, "segm", print_function=_say_nothing)
    evaluation.run()
    stats = evaluation.stats_as_dict
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]  # [thresholds, recalls, classes] of all sizes
    per_class = np.array([_mean(precision[:, :, index]) for index in range(n_classes)])
    return MaskAp({name: _percent(stats[theirs]) for name, theirs in MEASURES.items()}, per_class)


def _numbered(by_image: Sequence[list[Annotation]]) -> list[Annotation]:
    """Annotations of all images with `id` and `image_id`, both from 1: the library reads a match with 0 as none."""
    placed = [(number, entry) for number, entries in enumerate(by_image, 1) for entry in entries]
    return [entry | {"id": index, "image_id": number} for index, (number, entry) in enumerate(placed, 1)]


def _result(entry: Annotation) -> Annotation:
    """Without a box, or the library would take its area for the mask's."""
    return {key: entry[key] for key in ("image_id", "category_id", "segmentation", "score")}


def _mean(precision: NDArray[np.float64]) -> float:
    there = precision[precision > NOT_THERE]
    return float(100 * there.mean()) if there.size else float("nan")


def _percent(value: float) -> float:
    return float("nan") if value == NOT_THERE else 100 * value


def _say_nothing(*_: object) -> None:
    """In place of the library's report."""
