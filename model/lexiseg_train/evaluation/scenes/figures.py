"""Figures of a task on scenes, in percent: totals and classes from the records of all images, as JSON and as rows."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lexiseg_model.cards import ModelCard
from lexiseg_train.data.scenes import Annotation, SceneClass, SceneSet
from lexiseg_train.evaluation.counts import rounded
from lexiseg_train.evaluation.resumable import Record

Row = dict[str, float | int | None]  # None where there was nothing to measure
SceneTask = Literal["instance", "panoptic", "point", "box"]
# Columns of a class table by task, with their titles.
COLUMNS: dict[SceneTask, dict[str, str]] = {
    "panoptic": {"pq": "PQ", "sq": "SQ", "rq": "RQ", "matches": "TP", "false_alarms": "FP", "misses": "FN"},
    "instance": {"ap": "AP", "instances": "instances"},
    "point": {"iou": "IoU of the best", "iou_first": "of the first", "objects": "objects"},
    "box": {"iou": "IoU of the best", "iou_first": "of the first", "objects": "objects"},
}
TITLES = {
    "pq": "PQ", "sq": "SQ", "rq": "RQ", "classes": "classes",
    "pq_things": "PQ, things", "sq_things": "SQ, things", "rq_things": "RQ, things",
    "classes_things": "classes, things",
    "pq_stuff": "PQ, stuff", "sq_stuff": "SQ, stuff", "rq_stuff": "RQ, stuff", "classes_stuff": "classes, stuff",
    "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_small": "AP, small", "ap_medium": "AP, medium",
    "ap_large": "AP, large", "instances": "instances",
    "iou": "IoU of the best, mean of objects", "iou_first": "IoU of the first, mean of objects",
    "iou_classes": "IoU of the best, mean of classes", "objects": "objects",
}  # fmt: skip
# In the order of pycocotools' statistics. AP is the mean over IoU thresholds 0.50 to 0.95; sizes are 32 and 96 squared.
MEASURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
ABSENT = -1.0  # pycocotools' value for a class or a size without instances


class Figures(NamedTuple):
    """`whole` by the measure's name; `per_class` in the order of the classes, also the ones without images."""

    whole: Row
    per_class: list[Row]


def panoptic_figures(records: Sequence[Record], classes: Sequence[SceneClass]) -> Figures:
    """PQ, SQ and RQ over all classes, things and stuff; classes that neither occur nor were predicted are left out."""
    total = np.zeros((len(classes), 4))
    for record in records:
        for label, *counts in record["counts"]:
            total[label] += counts
    iou, matches, false_alarms, misses = total.T
    weight = matches + false_alarms / 2 + misses / 2
    whole_weight = np.where(weight > 0, weight, 1.0)
    scores = 100 * np.stack([iou / whole_weight, iou / np.maximum(matches, 1), matches / whole_weight], axis=1)
    scores[weight == 0] = np.nan
    groups = {
        "": list(range(len(classes))),
        "_things": [label for label, entry in enumerate(classes) if entry.thing],
        "_stuff": [label for label, entry in enumerate(classes) if not entry.thing],
    }
    whole: Row = {}
    for suffix, labels in groups.items():
        of_group = scores[labels]
        of_group = of_group[np.isfinite(of_group).all(1)]
        means = of_group.mean(0).tolist() if len(of_group) else [math.nan] * 3
        whole |= {f"{name}{suffix}": rounded(mean) for name, mean in zip(("pq", "sq", "rq"), means, strict=True)}
        whole[f"classes{suffix}"] = len(of_group)
    per_class: list[Row] = [
        dict(zip(COLUMNS["panoptic"], (*map(rounded, of_class), *counted), strict=True))
        for of_class, counted in zip(scores.tolist(), total[:, 1:].astype(int).tolist(), strict=True)
    ]
    return Figures(whole, per_class)


def instance_figures(records: Sequence[Record], classes: Sequence[SceneClass]) -> Figures:
    """COCO's mask AP; at most 100 predictions of a class count in an image."""
    truths = _numbered([record["truth"] for record in records])
    labels = np.array([entry["category_id"] - 1 for entry in truths if not entry["iscrowd"]], np.int64)
    annotated = np.bincount(labels, minlength=len(classes)).tolist()
    whole: Row = dict.fromkeys(MEASURES)
    of_classes: list[float | None] = [None] * len(classes)
    if truths:
        evaluation = _coco_evaluation(records, truths, len(classes))
        stats = {name: float(value) for name, value in zip(MEASURES, evaluation.stats, strict=False) if value > ABSENT}
        whole |= {name: rounded(100 * value) for name, value in stats.items()}
        precision = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # [thresholds, recalls, classes]: of all sizes
        of_classes = [_mean(each[each > ABSENT]) for each in np.moveaxis(precision, 2, 0)]
    whole["instances"] = sum(annotated)
    per_class: list[Row] = [
        {"ap": ap, "instances": instances} for ap, instances in zip(of_classes, annotated, strict=True)
    ]
    return Figures(whole, per_class)


def prompt_figures(records: Sequence[Record], classes: Sequence[SceneClass]) -> Figures:
    """Mean IoU over objects, of the best mask and of the model's first; also the mean over classes."""
    rows = [row for record in records for row in record["objects"]]
    labels = np.array([row[0] for row in rows], np.int64)
    best = np.array([row[1] for row in rows], np.float64)
    first = np.array([math.nan if row[2] is None else row[2] for row in rows], np.float64)
    of_classes = [labels == label for label in range(len(classes))]
    per_class: list[Row] = [
        {"iou": _mean(best[of]), "iou_first": _mean(first[of]), "objects": int(of.sum())} for of in of_classes
    ]
    means = np.array([best[of].mean() for of in of_classes if of.any()])
    whole: Row = {"iou": _mean(best), "iou_first": _mean(first), "iou_classes": _mean(means), "objects": len(rows)}
    return Figures(whole, per_class)


@dataclass(frozen=True)
class SceneReport:
    task: SceneTask
    card: ModelCard
    digest: str
    data: SceneSet[Any]
    settings: dict[str, Any]
    figures: Figures

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about annotations that are left out, and a split without any object."""
        counted = {"instance": "instances", "point": "objects", "box": "objects"}.get(self.task)
        if counted is None or self.figures.whole[counted]:
            return self.data.warnings
        sentence = f"{len(self.data.scenes)} photographs of {self.data.name} show no objects: nothing is measured"
        return (*self.data.warnings, sentence)

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "model": self.card.name,
            "model_version": self.card.version,
            "model_digest": self.digest,
            "dataset": self.data.name,
            "split": self.data.split,
            "images": len(self.data.scenes),
            "official_images": self.data.official,
            "instances_are": self.data.source,
            **self.settings,
            "warnings": list(self.warnings),
            "figures": self.figures.whole,
            "per_class": {
                entry.name: {"thing": entry.thing, "asked": list(entry.words), **row}
                for entry, row in zip(self.data.classes, self.figures.per_class, strict=True)
            },
        }

    def class_rows(self) -> list[tuple[str, ...]]:
        columns = COLUMNS[self.task]
        rows = zip(self.data.classes, self.figures.per_class, strict=True)
        return [(entry.name, *(text(row[column]) for column in columns)) for entry, row in rows if any(row.values())]


def text(value: float | int | None) -> str:
    """Two decimals for percent, none for counts."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    return rounded(float(100 * values.mean())) if values.size else None


def _coco_evaluation(records: Sequence[Record], truths: list[Annotation], n_classes: int) -> COCOeval:
    """pycocotools' evaluation of masks, summarised; it prints nothing."""
    truth, answer = COCO(), COCO()
    truth.dataset = {
        "images": [
            {"id": number, "height": height, "width": width}
            for number, (height, width) in enumerate((record["size"] for record in records), 1)
        ],
        "categories": [{"id": index + 1, "name": str(index)} for index in range(n_classes)],
        "annotations": truths,
    }
    keys = ("image_id", "category_id", "segmentation", "score")  # with a box its area would replace the mask's
    answers = [{key: entry[key] for key in keys} for entry in _numbered([record["answer"] for record in records])]
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        if answers:
            answer = truth.loadRes(answers)
        else:
            answer.dataset = truth.dataset | {"annotations": []}
            answer.createIndex()
        evaluation = COCOeval(truth, answer, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _numbered(by_image: Sequence[list[Annotation]]) -> list[Annotation]:
    """Annotations of all images with `id` and `image_id`, both from 1: pycocotools reads a match with 0 as none."""
    placed = [(number, entry) for number, entries in enumerate(by_image, 1) for entry in entries]
    return [entry | {"id": index, "image_id": number} for index, (number, entry) in enumerate(placed, 1)]
