"""Panoptic quality (Kirillov et al., CVPR 2019), by the rules of cocodataset/panopticapi, evaluation.py.

A segment of the truth and one of the answer match if they have one class and IoU > 0.5, not counting void pixels of the
truth. Unmatched ones are misses and false alarms, except groups ("crowd") in the truth, and predicted segments of which
more than half lies on void or on a group of their class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_train.data.scenes import VOID, Ids, PanopticTruth

BACKGROUND = 0  # id of a predicted pixel in no segment
MATCHES_ABOVE = 0.5  # IoU
EXCUSED_ABOVE = 0.5  # share of a false alarm on void or a group


# [n, 4]: sum of the IoU of a class's matches, and the numbers of its matches, false alarms and misses.
PanopticCounts = NDArray[np.float64]
IOU, MATCHES, FALSE_ALARMS, MISSES = range(4)


def count_panoptic(truth: PanopticTruth, answer: Ids, labels: Sequence[int], n_classes: int) -> PanopticCounts:
    """Counts of one image.

    `answer` [H, W] holds i + 1 for segment i, BACKGROUND for none, `labels` the class of each predicted segment.
    """
    shared = _shared(truth.ids, answer)
    areas = np.bincount(answer.reshape(-1), minlength=len(labels) + 1)
    counts = np.zeros((n_classes, 4))
    segments = {segment.id: segment for segment in truth.segments}
    matched_truth: set[int] = set()
    matched_answer: set[int] = set()
    for (truth_id, answer_id), area in shared.items():
        segment = segments.get(truth_id)
        if segment is None or answer_id == BACKGROUND or segment.crowd or segment.class_index != labels[answer_id - 1]:
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


def class_scores(counts: PanopticCounts) -> NDArray[np.float64]:
    """PQ, SQ, RQ of each class [n, 3] in percent; NaN without matches and mistakes."""
    iou, matches, false_alarms, misses = counts.T
    weight = matches + false_alarms / 2 + misses / 2
    occurring = weight > 0
    whole = np.where(occurring, weight, 1.0)
    quality = 100 * np.stack([iou / whole, iou / np.maximum(matches, 1), matches / whole], axis=1)
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
