"""Judges of scenes: run a model on one image and record, task by task, what `figures.py` adds up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import Background, Refinement, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.scenes import VOID, Annotation, Ids, Objects, PanopticTruth, SceneSet, annotation
from lexiseg_train.evaluation.resumable import EvaluationRun, Record
from lexiseg_train.evaluation.scenes.oracle import PromptProtocol

Rgb = NDArray[np.uint8]
Truth = TypeVar("Truth")
TruthIn = TypeVar("TruthIn", contravariant=True)
# Panoptic quality (Kirillov et al., CVPR 2019) by the rules of panopticapi, evaluation.py: segments of truth and answer
# match by class and IoU, not counting void pixels of the truth.
MATCHES_ABOVE = 0.5  # IoU
EXCUSED_ABOVE = 0.5  # share of a false alarm on void or a group ("crowd") of its class
NO_SEGMENT = 0  # id of a predicted pixel in no segment
IOU, MATCHES, FALSE_ALARMS, MISSES = range(4)  # columns of PanopticCounts
PanopticCounts = NDArray[np.float64]  # [n, 4]: sum of the IoU of a class's matches, and numbers of the three


class Judge(Protocol[TruthIn]):
    """Compares a model's answer with the truth; `settings`, JSON values, are what its records depend on."""

    settings: dict[str, Any]

    def __call__(self, rgb: Rgb, truth: TruthIn) -> Record:
        """The record of a photograph [H, W, 3]. Raises DatasetError: the truth is not of the photograph's size."""


def scene_run(
    segmenter: Segmenter, data: SceneSet[Truth], task: str, judge: Judge[Truth], progress: Path
) -> EvaluationRun[Truth]:
    """An evaluation of one task; arguments as of `EvaluationRun`."""
    key = {
        "data": [data.background, data.source],
        "classes": [[entry.name, entry.words, entry.thing] for entry in data.classes],
        "settings": judge.settings,
    }
    return EvaluationRun(segmenter, data.scenes, judge, progress, f"{data.name}-{data.split}-{task}", key)


class _ClassJudge:
    """Runs a task with all classes of a data set."""

    task: Task

    def __init__(self, segmenter: Segmenter, data: SceneSet[Any], refine: Refinement | None = None) -> None:
        self.segmenter = segmenter
        self.n_classes = len(data.classes)
        self.settings = {"refine": refine or segmenter.card.refine}
        self._options = Options(refine=refine)
        entries = tuple(entry.entry for entry in data.classes)
        self._vocabulary = Vocabulary(entries, Background() if data.background else None, data.name)
        self._rows_of = KnownRows(segmenter)

    def answer(self, rgb: Rgb) -> Segmentation:
        with torch.inference_mode():
            features = self.segmenter.encode(rgb)
            return segment(self.task, self.segmenter, features, self._vocabulary, self._options, self._rows_of)


class PanopticJudge(_ClassJudge):
    """Record: `counts`, a list of [label, sum of IoU, matches, false alarms, misses]."""

    task = "panoptic"

    def __call__(self, rgb: Rgb, truth: PanopticTruth) -> Record:
        _expect_size(truth.ids.shape, rgb)
        answer = self.answer(rgb)
        number_of = np.zeros(1 + max((entry.id for entry in answer.segments), default=0), np.int32)
        number_of[[entry.id for entry in answer.segments]] = np.arange(1, len(answer.segments) + 1)
        labels = [_label(entry.class_index) for entry in answer.segments]
        counts = count_panoptic(truth, number_of[answer.label_map], labels, self.n_classes)
        return {"counts": [[label, *counts[label].tolist()] for label in np.flatnonzero(counts.any(1)).tolist()]}


class InstanceJudge(_ClassJudge):
    """Record: `size`, and COCO annotations as `truth` and `answer`."""

    task = "instance"

    def __call__(self, rgb: Rgb, truth: list[Annotation]) -> Record:
        for entry in truth:
            if isinstance(entry["segmentation"], dict):  # polygons have no size
                _expect_size(entry["segmentation"]["size"], rgb)
        answer = [
            annotation(entry.mask, _label(entry.class_index)) | {"score": entry.score}
            for entry in self.answer(rgb).segments
        ]
        return {"size": list(rgb.shape[:2]), "truth": truth, "answer": answer}


class PromptJudge:
    """One prompt for every object. Record: `objects`, a list of [label, best IoU, first IoU or null]."""

    def __init__(self, segmenter: Segmenter, protocol: PromptProtocol) -> None:
        self.settings = protocol.settings
        self._segmenter = segmenter
        self._reach = protocol.reach

    def __call__(self, rgb: Rgb, truth: Objects) -> Record:
        _expect_size(truth.ids.shape, rgb)
        if not truth.labels:
            return {"objects": []}
        with torch.inference_mode():
            reached = self._reach(self._segmenter, self._segmenter.encode(rgb), truth)
        firsts = [None] * len(truth.labels) if reached.first is None else reached.first.tolist()
        return {"objects": [list(row) for row in zip(truth.labels, reached.best.tolist(), firsts, strict=True)]}


def _expect_size(truth: Sequence[int], rgb: Rgb) -> None:
    if tuple(truth) != rgb.shape[:2]:
        raise DatasetError(f"the truth is {tuple(truth)}, its photograph {rgb.shape[:2]} (height, width)")


def _label(class_index: int | None) -> int:
    assert class_index is not None  # every segment of a task with classes has one
    return class_index


def count_panoptic(truth: PanopticTruth, answer: Ids, labels: Sequence[int], n_classes: int) -> PanopticCounts:
    """Counts of one image; `answer` [H, W] holds i + 1 for segment i, `labels` the class of each predicted segment."""
    lowest = int(truth.ids.min()) if truth.ids.size else 0
    width = int(answer.max()) + 1 if answer.size else 1
    pairs, sizes = np.unique((truth.ids.astype(np.int64) - lowest) * width + answer, return_counts=True)
    shared: dict[tuple[int, int], int] = {
        (pair // width + lowest, pair % width): n for pair, n in zip(pairs.tolist(), sizes.tolist(), strict=True)
    }
    areas = np.bincount(answer.reshape(-1), minlength=len(labels) + 1)
    counts = np.zeros((n_classes, 4))
    segments = {segment.id: segment for segment in truth.segments}
    matched_truth: set[int] = set()
    matched_answer: set[int] = set()
    for (truth_id, answer_id), area in shared.items():
        segment = segments.get(truth_id)
        if segment is None or answer_id == NO_SEGMENT or segment.crowd or segment.class_index != labels[answer_id - 1]:
            continue
        union = segment.area + int(areas[answer_id]) - area - shared.get((VOID, answer_id), 0)
        iou = area / union
        if iou > MATCHES_ABOVE:
            counts[segment.class_index, [IOU, MATCHES]] += iou, 1
            matched_truth.add(truth_id)
            matched_answer.add(answer_id)
    for segment in truth.segments:
        if segment.id not in matched_truth and not segment.crowd:
            counts[segment.class_index, MISSES] += 1
    groups = {segment.class_index: segment.id for segment in truth.segments if segment.crowd}  # the last of each class
    for answer_id, label in enumerate(labels, start=1):
        if answer_id in matched_answer or not areas[answer_id]:
            continue
        # A segment over pixels without a label, or over a crowd of its class, is no false alarm.
        excusing = {VOID, groups.get(label, VOID)}
        excused = sum(shared.get((truth_id, answer_id), 0) for truth_id in excusing)
        if excused / areas[answer_id] <= EXCUSED_ABOVE:
            counts[label, FALSE_ALARMS] += 1
    return counts
