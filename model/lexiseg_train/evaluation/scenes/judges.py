"""Judges of scenes: run a model on one image and record, task by task, what `figures.py` adds up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import Background, Refinement, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.scenes import Annotation, Objects, PanopticTruth, SceneSet, annotation
from lexiseg_train.evaluation.resumable import EvaluationRun, Record
from lexiseg_train.evaluation.scenes.oracle import PromptProtocol
from lexiseg_train.evaluation.scenes.panoptic_quality import count_panoptic

Rgb = NDArray[np.uint8]
Truth = TypeVar("Truth")


class Judge(ABC, Generic[Truth]):
    """Compares a model's answer with the truth; `settings`, JSON values, are what its records depend on."""

    settings: dict[str, Any]

    @abstractmethod
    def __call__(self, rgb: Rgb, truth: Truth) -> Record:
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


class _ClassJudge(Judge[Truth]):
    """Runs a task with all classes of a data set."""

    task: Task

    def __init__(self, segmenter: Segmenter, data: SceneSet[Truth], refine: Refinement | None = None) -> None:
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


class PanopticJudge(_ClassJudge[PanopticTruth]):
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


class InstanceJudge(_ClassJudge[list[Annotation]]):
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


class PromptJudge(Judge[Objects]):
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
