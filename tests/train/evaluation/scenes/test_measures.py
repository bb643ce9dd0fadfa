"""Panoptic quality and mask AP."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.masks.rle import encode_mask
from lexiseg_train.data.scenes import VOID, Annotation, PanopticTruth, TruthSegment, annotation
from lexiseg_train.evaluation.scenes.figures import instance_figures
from lexiseg_train.evaluation.scenes.judges import count_panoptic
from tests.train.evaluation.scenes.promptable import classes

N_CLASSES = 3


def counted_slowly(
    truth: PanopticTruth, answer: NDArray[np.int32], labels: Sequence[int]
) -> dict[int, tuple[float, int, int, int]]:
    """Sets of pixels, every pair of segments, straight from the definition."""
    truth_pixels = {segment.id: {*zip(*np.nonzero(truth.ids == segment.id), strict=True)} for segment in truth.segments}
    void = {*zip(*np.nonzero(truth.ids == VOID), strict=True)}
    pixels_of = [{*zip(*np.nonzero(answer == index + 1), strict=True)} for index in range(len(labels))]
    result = {}
    for label in range(N_CLASSES):
        mine = [segment for segment in truth.segments if segment.class_index == label and not segment.crowd]
        groups = [segment for segment in truth.segments if segment.class_index == label and segment.crowd]
        theirs = [pixels for pixels, its in zip(pixels_of, labels, strict=True) if its == label and pixels]
        pairs = [
            (
                segment.id,
                index,
                len(truth_pixels[segment.id] & pixels) / len(truth_pixels[segment.id] | (pixels - void)),
            )
            for segment in mine
            for index, pixels in enumerate(theirs)
            if truth_pixels[segment.id] | (pixels - void)
        ]
        matches = [pair for pair in pairs if pair[2] > 0.5]
        left = [pixels for index, pixels in enumerate(theirs) if index not in {pair[1] for pair in matches}]
        excuse = void | (truth_pixels[groups[-1].id] if groups else set())
        alarms = [pixels for pixels in left if len(pixels & excuse) / len(pixels) <= 0.5]
        iou = sum(pair[2] for pair in matches)
        result[label] = (iou, len(matches), len(alarms), len(mine) - len({pair[0] for pair in matches}))
    return result


@pytest.mark.parametrize("seed", range(40))
def test_counts_are_those_of_a_slow_count(seed: int) -> None:
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 7, (6, 6)) * 3  # id 0 is void, the others 3 to 18
    ids = np.kron(blocks, np.ones((3, 3), int)).astype(np.int32)
    segments = tuple(
        TruthSegment(key, int(random.integers(N_CLASSES)), int((ids == key).sum()), bool(random.random() < 0.2))
        for key in np.unique(ids).tolist()
        if key
    )
    # The truth, renumbered, with some pixels and some segments changed: matches, near misses, false alarms.
    answer = (ids // 3).astype(np.int32)
    noise = random.random(ids.shape) < random.uniform(0, 0.6)
    answer[noise] = random.integers(0, 9, int(noise.sum()))
    labels = [int(random.integers(N_CLASSES)) for _ in range(8)]
    for segment in segments:
        if random.random() < 0.7:
            labels[segment.id // 3 - 1] = segment.class_index
    truth = PanopticTruth(ids, segments)

    counts = count_panoptic(truth, answer, labels, N_CLASSES)

    slow = counted_slowly(truth, answer, labels)
    for label in range(N_CLASSES):
        assert counts[label].tolist() == pytest.approx(slow[label])


SIZE = (120, 160)


def box(left: int, top: int, right: int, bottom: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def known(mask: NDArray[np.bool_], label: int = 0, crowd: bool = False) -> Annotation:
    return annotation(encode_mask(mask), label, crowd)


def answered(mask: NDArray[np.bool_], score: float, label: int = 0) -> Annotation:
    return known(mask, label) | {"score": score}


@pytest.mark.parametrize(("score", "ap"), [(0.4, 100), (0.6, 50)])
def test_a_false_alarm_costs_by_its_score(score: float, ap: float) -> None:
    mask, elsewhere = box(0, 0, 40, 40), box(80, 80, 120, 120)
    record = {"size": SIZE, "truth": [known(mask)], "answer": [answered(mask, 0.5), answered(elsewhere, score)]}

    assert instance_figures([record], classes("car")).whole["ap"] == ap


def test_what_lies_on_a_group_is_neither_right_nor_wrong() -> None:
    mask, group = box(0, 0, 40, 40), box(80, 0, 160, 120)
    truth = [known(mask), known(group, crowd=True)]
    record = {"size": SIZE, "truth": truth, "answer": [answered(mask, 0.5), answered(box(90, 10, 110, 40), 0.9)]}

    assert instance_figures([record], classes("car")).whole["ap"] == 100
