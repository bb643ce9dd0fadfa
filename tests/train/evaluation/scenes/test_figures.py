"""Figures of scene tasks, as JSON and as rows."""

from typing import Any

import numpy as np
import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.rle import encode_mask
from lexiseg_train.data.scenes import PanopticTruth, SceneSet, annotation, things_of, with_truth
from lexiseg_train.evaluation.resumable import Record
from lexiseg_train.evaluation.scenes.figures import instance_figures, panoptic_figures, prompt_figures
from lexiseg_train.evaluation.scenes.judges import InstanceJudge, PanopticJudge, PromptJudge
from lexiseg_train.evaluation.scenes.oracle import tight_boxes
from tests.train.evaluation.scenes.promptable import PromptableColours, blocks, classes, objects, panoptic, scenes

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
