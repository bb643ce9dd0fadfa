"""Panoptic quality, mask AP and oracle IoU: counts of pictures, and figures of a split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import encode_mask
from lexiseg_train.data.scenes import VOID, PanopticTruth, SceneSet, TruthSegment, annotation, things_of, with_truth
from lexiseg_train.evaluation.resumable import Record
from lexiseg_train.evaluation.scenes.figures import instance_figures, panoptic_figures, prompt_figures
from lexiseg_train.evaluation.scenes.judges import (
    InstanceJudge,
    PanopticJudge,
    PromptJudge,
    count_panoptic,
    tight_boxes,
)
from tests.train.evaluation.scenes.promptable import PromptableColours, blocks, classes, objects, panoptic, scenes

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


COLOURS = classes("red", "green", "blue", "sky", stuff=["sky"])


def test_panoptic_quality_is_told_for_all_for_things_and_for_stuff() -> None:
    records = [{"counts": [[0, 0.8, 1, 0, 0], [3, 0.6, 1, 1, 1]]}, {"counts": [[0, 0.9, 1, 0, 0], [1, 0.0, 0, 0, 1]]}]

    found = panoptic_figures(records, COLOURS)

    assert found.whole == {
        "pq": 38.33, "sq": 48.33, "rq": 50.0, "classes": 3,
        "pq_things": 42.5, "sq_things": 42.5, "rq_things": 50.0, "classes_things": 2,
        "pq_stuff": 30.0, "sq_stuff": 60.0, "rq_stuff": 50.0, "classes_stuff": 1,
    }  # fmt: skip
    assert found.per_class[0] == {"pq": 85.0, "sq": 85.0, "rq": 100.0, "matches": 2, "false_alarms": 0, "misses": 0}
    assert found.per_class[2] == {"pq": None, "sq": None, "rq": None, "matches": 0, "false_alarms": 0, "misses": 0}


def test_of_instances_groups_are_not_counted() -> None:
    left = np.zeros((40, 60), np.bool_)
    left[:20, :20] = True
    truth = [annotation(encode_mask(left), 0), annotation(encode_mask(~left), 0, crowd=True)]
    record = {"size": [40, 60], "truth": truth, "answer": [annotation(encode_mask(left), 0) | {"score": 0.5}]}

    found = instance_figures([record], COLOURS)

    assert (found.whole["ap"], found.whole["ap_small"], found.whole["ap_large"]) == (100.0, 100.0, None)
    assert found.whole["instances"] == 1
    assert found.per_class[:2] == [{"ap": 100.0, "instances": 1}, {"ap": None, "instances": 0}]


def test_every_object_counts_the_same_and_every_class_in_the_other_mean() -> None:
    records: list[Record] = [{"objects": [[0, 1.0, 0.5], [0, 0.8, 0.8]]}, {"objects": []}, {"objects": [[2, 0.3, 0.2]]}]

    found = prompt_figures(records, COLOURS)

    assert found.whole == {"iou": 70.0, "iou_first": 50.0, "iou_classes": 60.0, "objects": 3}
    assert found.per_class == [
        {"iou": 90.0, "iou_first": 65.0, "objects": 2},
        {"iou": None, "iou_first": None, "objects": 0},
        {"iou": 30.0, "iou_first": 20.0, "objects": 1},
        {"iou": None, "iou_first": None, "objects": 0},
    ]


PAINTS = classes("red", "green", "blue", stuff=["blue"])


def flag(rows: list[str], truth: list[str], background: bool = False) -> SceneSet[PanopticTruth]:
    return scenes(PAINTS, (rows, panoptic(truth, things=(0, 1), stuff=(2,))), background=background)


@pytest.mark.parametrize("task", ["panoptic", "instance", "box"])
def test_a_truth_of_another_size_is_named(task: str) -> None:
    wide = blocks(["rrr"])
    panoptics, segmenter = flag(["rr"], ["00"]), PromptableColours()
    instances = with_truth(panoptics, lambda truth: things_of(truth, PAINTS))
    judges: dict[str, tuple[Any, Any]] = {
        "panoptic": (PanopticJudge(segmenter, panoptics), panoptics.scenes[0].read_truth()),
        "instance": (InstanceJudge(segmenter, instances), instances.scenes[0].read_truth()),
        "box": (PromptJudge(segmenter, tight_boxes()), objects(["00"])),
    }
    judge, truth = judges[task]

    with pytest.raises(DatasetError, match=r"the truth is \(12, 24\), its photograph \(12, 36\) \(height, width\)"):
        judge(wide, truth)
