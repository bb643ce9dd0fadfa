"""Judges of scenes: run a model on one image and record, task by task, what `figures.py` adds up.

Prompts are judged by oracle IoU: that of each object with the best mask for a point or a box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import prompts_of
from lexiseg_model.errors import DatasetError
from lexiseg_model.features import Features
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.tasks import Options, segment
from lexiseg_model.types import Background, Point, Prompt, Refinement, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.scenes import VOID, Annotation, Ids, Objects, PanopticTruth, SceneSet, annotation
from lexiseg_train.evaluation.resumable import EvaluationRun, Record

PROMPTS_AT_ONCE = 64
PIXELS_AT_ONCE = 1 << 24  # of masks at the photograph's size
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


class Reached(NamedTuple):
    """IoU [O] in 0..1 of each object with the best mask and with the model's first; None where there is no order."""

    best: NDArray[np.float64]
    first: NDArray[np.float64] | None


class PromptProtocol(NamedTuple):
    """The prompts for objects; `settings` describe them in reports."""

    settings: dict[str, Any]
    reach: Callable[[Segmenter, Features, Objects], Reached]


def centre_points() -> PromptProtocol:
    """One point for each object, at its deepest pixel."""
    return _one_each({"points": "centre"}, lambda mask: Prompt((deepest_point(mask),)))


def tight_boxes() -> PromptProtocol:
    return _one_each({}, lambda mask: Prompt(box=tight_box(mask)))


def _one_each(settings: dict[str, Any], prompt_of: Callable[[NDArray[np.bool_]], Prompt]) -> PromptProtocol:

    def reach(segmenter: Segmenter, features: Features, objects: Objects) -> Reached:
        prompts = [prompt_of(objects.ids == index + 1) for index in range(len(objects.labels))]
        best, first = np.zeros((2, len(prompts)))
        numbers = _object_numbers(objects)
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            for index, answer in enumerate(
                prompts_of(segmenter).prompt(features, prompts[start : start + PROMPTS_AT_ONCE]), start
            ):
                if len(answer.masks):
                    ious = _overlaps(answer.masks, numbers, len(prompts))[:, index]
                    best[index], first[index] = ious.max(), ious[0]
        return Reached(best, first)

    return PromptProtocol(settings, reach)


def point_grid(n: int) -> PromptProtocol:
    """For each object the best of all masks of an n x n grid of points, without suppression; n is at least 1."""

    def reach(segmenter: Segmenter, features: Features, objects: Objects) -> Reached:
        best = np.zeros(len(objects.labels))
        numbers = _object_numbers(objects)
        prompts = [Prompt((point,)) for point in grid_points(n, features.size)]
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            answers = prompts_of(segmenter).prompt(features, prompts[start : start + PROMPTS_AT_ONCE])
            masks = torch.cat([answer.masks for answer in answers])
            if len(masks):
                best = np.maximum(best, _overlaps(masks, numbers, len(best)).max(0))
        return Reached(best, None)

    return PromptProtocol({"points": "grid", "grid": n}, reach)


def deepest_point(mask: NDArray[np.bool_]) -> Point:
    """Centre of the pixel farthest from the mask's outline and the picture's border (SAM, Kirillov et al., 2023)."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), mask.shape[1])
    return Point(column + 0.5, row + 0.5)


def grid_points(n: int, size: tuple[int, int]) -> list[Point]:
    """Centres of n x n equal cells of an image of (height, width), row by row."""
    steps = (np.arange(n) + 0.5) / n
    return [Point(float(x * size[1]), float(y * size[0])) for y in steps for x in steps]


def _object_numbers(objects: Objects) -> NDArray[np.int64]:
    """[H, W]: 0 for no object, i + 1 for object i, the number after the last for ignored pixels."""
    return np.where(objects.ignored, len(objects.labels) + 1, objects.ids).astype(np.int64)


def _overlaps(masks: Tensor, numbers: NDArray[np.int64], n_objects: int) -> NDArray[np.float64]:
    size = (numbers.shape[0], numbers.shape[1])
    width = n_objects + 2
    objects = torch.from_numpy(numbers).to(masks.device)
    parts = []
    for some in torch.split(masks, max(1, PIXELS_AT_ONCE // numbers.size)):
        inside = F.interpolate(some[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0] >= 0
        pairs = objects + width * torch.arange(len(some), device=objects.device)[:, None, None]
        parts.append(torch.bincount(pairs[inside], minlength=width * len(some)).view(-1, width).cpu().numpy())
    shared = np.concatenate(parts)
    truth = np.bincount(numbers.reshape(-1), minlength=width)[1 : n_objects + 1]
    areas = shared[:, : n_objects + 1].sum(1, keepdims=True)
    common = shared[:, 1 : n_objects + 1]
    ious: NDArray[np.float64] = common / np.maximum(areas + truth - common, 1)
    return ious


class Judge(Protocol[TruthIn]):
    """Compares a model's answer with the truth; `settings`, JSON values, are what its records depend on."""

    settings: dict[str, Any]

    def __call__(self, rgb: Rgb, truth: TruthIn) -> Record:
        """The record of a photograph [H, W, 3]. Raises DatasetError: the truth is not of the photograph's size."""


def scene_run(
    segmenter: Segmenter, data: SceneSet[Truth], task: str, judge: Judge[Truth], progress: Path
) -> EvaluationRun[Truth]:
    key = {
        "data": [data.background, data.source],
        "classes": [[entry.name, entry.words, entry.thing] for entry in data.classes],
        "settings": judge.settings,
    }
    return EvaluationRun(segmenter, data.scenes, judge, progress, f"{data.name}-{data.split}-{task}", key)


class _ClassJudge:
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
