"""Panoptic quality (Kirillov et al., CVPR 2019), by the rules of cocodataset/panopticapi, evaluation.py.

A segment of the truth and one of the answer match if they have one class and IoU > 0.5, not counting void pixels of the
truth. Unmatched ones are misses and false alarms, except groups ("crowd") in the truth, and predicted segments of which
more than half lies on void or on a group of their class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.scenes import VOID, Ids, PanopticTruth
from lexiseg_model.errors import ShapeError

NOBODY = 0  # id of a predicted pixel in no segment
MATCHES_ABOVE = 0.5  # IoU
EXCUSED_ABOVE = 0.5  # share of a false alarm on void or a group


@dataclass(frozen=True)
class PanopticCounts:
    """For each class [n]: sum of the IoU of its matches (float64); matches, false alarms, misses (int64)."""

    iou: NDArray[np.float64]
    matches: NDArray[np.int64]
    false_alarms: NDArray[np.int64]
    misses: NDArray[np.int64]

    @classmethod
    def none(cls, n_classes: int) -> PanopticCounts:
        """Zero counts."""
        return cls(np.zeros(n_classes), *np.zeros((3, n_classes), np.int64))

    def __add__(self, other: PanopticCounts) -> PanopticCounts:
        return PanopticCounts(
            self.iou + other.iou,
            self.matches + other.matches,
            self.false_alarms + other.false_alarms,
            self.misses + other.misses,
        )


@dataclass(frozen=True)
class PanopticScores:
    """Percent over `classes` classes; NaN where there are none."""

    pq: float
    sq: float
    rq: float
    classes: int


def count_panoptic(truth: PanopticTruth, answer: Ids, labels: Sequence[int], n_classes: int) -> PanopticCounts:
    """Counts of one image.

    Args:
        truth: ids and segments.
        answer: [H, W]; i + 1 for segment i, NOBODY for none.
        labels: the class of each predicted segment.
        n_classes: number of classes.

    Raises:
        ShapeError: the two differ in shape, or the answer holds an id that `labels` does not have.
    """
    if truth.ids.shape != answer.shape:
        raise ShapeError(f"an answer of {answer.shape} for a truth of {truth.ids.shape}")
    if answer.size and answer.max() > len(labels):
        raise ShapeError(f"an answer with the id {answer.max()}, and {len(labels)} segments")
    shared = _shared(truth.ids, answer)
    answered = np.bincount(answer.reshape(-1), minlength=len(labels) + 1)
    counts = PanopticCounts.none(n_classes)
    segments = {segment.id: segment for segment in truth.segments}
    matched_truth: set[int] = set()
    matched_answer: set[int] = set()
    for (truth_id, answer_id), area in shared.items():
        segment = segments.get(truth_id)
        if segment is None or answer_id == NOBODY or segment.crowd or segment.class_index != labels[answer_id - 1]:
            continue
        union = segment.area + int(answered[answer_id]) - area - shared.get((VOID, answer_id), 0)
        iou = area / union
        if iou > MATCHES_ABOVE:
            counts.iou[segment.class_index] += iou
            counts.matches[segment.class_index] += 1
            matched_truth.add(truth_id)
            matched_answer.add(answer_id)
    for segment in truth.segments:
        if segment.id not in matched_truth and not segment.crowd:
            counts.misses[segment.class_index] += 1
    groups = {segment.class_index: segment.id for segment in truth.segments if segment.crowd}  # the last of each class
    for answer_id, label in enumerate(labels, start=1):
        if answer_id in matched_answer or not answered[answer_id]:
            continue
        # A segment over pixels without a label, or over a crowd of its class, is no false alarm.
        excusing = {VOID, groups.get(label, VOID)}
        excused = sum(shared.get((truth_id, answer_id), 0) for truth_id in excusing)
        if excused / answered[answer_id] <= EXCUSED_ABOVE:
            counts.false_alarms[label] += 1
    return counts


def panoptic_scores(counts: PanopticCounts, among: Iterable[int] | None = None) -> PanopticScores:
    """Means of PQ, SQ and RQ over classes that occur in the truth or were predicted.

    Args:
        counts: of all images.
        among: classes to average; None: all.
    """
    per_class = class_scores(counts)
    if among is not None:
        per_class = per_class[list(among)]
    per_class = per_class[~np.isnan(per_class).any(1)]
    if not len(per_class):
        return PanopticScores(float("nan"), float("nan"), float("nan"), 0)
    pq, sq, rq = per_class.mean(0).tolist()
    return PanopticScores(pq, sq, rq, len(per_class))


def class_scores(counts: PanopticCounts) -> NDArray[np.float64]:
    """PQ, SQ, RQ of each class [n, 3] in percent; NaN without matches and mistakes."""
    weight = counts.matches + counts.false_alarms / 2 + counts.misses / 2
    occurring = weight > 0
    whole = np.where(occurring, weight, 1.0)
    quality = 100 * np.stack(
        [counts.iou / whole, counts.iou / np.maximum(counts.matches, 1), counts.matches / whole], axis=1
    )
    quality[~occurring] = np.nan
    return quality


def _shared(truth: Ids, answer: Ids) -> dict[tuple[int, int], int]:
    """Number of pixels of each pair of ids."""
    lowest = int(truth.min()) if truth.size else 0
    width = int(answer.max()) + 1 if answer.size else 1
    pairs, areas = np.unique((truth.astype(np.int64) - lowest) * width + answer, return_counts=True)
    return {
        (pair // width + lowest, pair % width): area for pair, area in zip(pairs.tolist(), areas.tolist(), strict=True)
    }
