"""From the records of all images to figures, in percent: of the whole split, and of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lexiseg_model.data.scenes import SceneClass
from lexiseg_model.evaluation.records import Record
from lexiseg_model.evaluation.scenes.mask_ap import ImageInstances, mask_ap
from lexiseg_model.evaluation.scenes.panoptic_quality import PanopticCounts, class_scores, panoptic_scores

Row = dict[str, float | int | None]  # None where nothing was there to measure


class Figures(NamedTuple):
    """`whole` by the measure's name; `per_class` in the order of the classes, those that the images do not have too."""

    whole: Row
    per_class: list[Row]


def panoptic_figures(records: Sequence[Record], classes: Sequence[SceneClass]) -> Figures:
    """PQ, SQ and RQ over all classes, the things, the stuff; only classes that are there or were answered count."""
    total = PanopticCounts.none(len(classes))
    for record in records:
        for label, iou, matches, false_alarms, misses in record["counts"]:
            total.iou[label] += iou
            total.matches[label] += matches
            total.false_alarms[label] += false_alarms
            total.misses[label] += misses
    groups = {
        "": range(len(classes)),
        "_things": [label for label, entry in enumerate(classes) if entry.thing],
        "_stuff": [label for label, entry in enumerate(classes) if not entry.thing],
    }
    whole: Row = {}
    for suffix, labels in groups.items():
        found = panoptic_scores(total, labels)
        whole |= {
            f"pq{suffix}": _rounded(found.pq),
            f"sq{suffix}": _rounded(found.sq),
            f"rq{suffix}": _rounded(found.rq),
        }
        whole[f"classes{suffix}"] = found.classes
    columns = (total.matches.tolist(), total.false_alarms.tolist(), total.misses.tolist())
    per_class: list[Row] = [
        {
            "pq": _rounded(pq), "sq": _rounded(sq), "rq": _rounded(rq),
            "matches": matches, "false_alarms": false_alarms, "misses": misses,
        }
        for (pq, sq, rq), matches, false_alarms, misses in zip(class_scores(total).tolist(), *columns, strict=True)
    ]  # fmt: skip
    return Figures(whole, per_class)


def instance_figures(records: Sequence[Record], classes: Sequence[SceneClass]) -> Figures:
    """COCO's mask AP.

    Raises:
        OptionError: faster-coco-eval is not installed.
    """
    images = [
        ImageInstances((record["size"][0], record["size"][1]), record["truth"], record["answer"]) for record in records
    ]
    found = mask_ap(images, len(classes))
    annotated = np.zeros(len(classes), np.int64)
    for image in images:
        for entry in image.truth:
            annotated[entry["category_id"] - 1] += not entry["iscrowd"]
    whole: Row = {name: _rounded(value) for name, value in found.whole.items()}
    whole["instances"] = int(annotated.sum())
    per_class: list[Row] = [
        {"ap": _rounded(ap), "instances": instances}
        for ap, instances in zip(found.per_class.tolist(), annotated.tolist(), strict=True)
    ]
    return Figures(whole, per_class)


def prompt_figures(records: Sequence[Record], classes: Sequence[SceneClass]) -> Figures:
    """Mean IoU over objects: of the best mask, and of the one that the model holds best; also the mean of the classes.

    Every object counts the same, whatever its size and class.
    """
    rows = [row for record in records for row in record["objects"]]
    labels = np.array([row[0] for row in rows], np.int64)
    best = np.array([row[1] for row in rows], np.float64)
    first = np.array([math.nan if row[2] is None else row[2] for row in rows], np.float64)
    per_class: list[Row] = [
        {
            "iou": _mean(best[labels == label]),
            "iou_first": _mean(first[labels == label]),
            "objects": int((labels == label).sum()),
        }
        for label in range(len(classes))
    ]
    means = [100 * best[labels == label].mean() for label in np.unique(labels)]
    whole: Row = {
        "iou": _mean(best),
        "iou_first": _mean(first),
        "iou_classes": _rounded(float(np.mean(means))) if means else None,
        "objects": len(rows),
    }
    return Figures(whole, per_class)


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    return _rounded(float(100 * values.mean())) if values.size else None


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
