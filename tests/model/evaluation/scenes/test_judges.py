"""The record of one image, for a model with known answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lexiseg_model.data.scenes import PanopticTruth, SceneSet, things_of, with_truth
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.scenes.judges import InstanceJudge, PanopticJudge, PromptJudge
from lexiseg_model.evaluation.scenes.oracle import centre_points, tight_boxes
from tests import coco
from tests.model.evaluation.scenes.promptable import PromptableColours, blocks, classes, objects, panoptic, scenes

COLOURS = classes("red", "green", "blue", stuff=["blue"])


def flag(rows: list[str], truth: list[str], background: bool = False) -> SceneSet[PanopticTruth]:
    return scenes(COLOURS, (rows, panoptic(truth, things=(0, 1), stuff=(2,))), background=background)


def judged(judge: Any, data: SceneSet[Any]) -> Any:
    """The record of the first scene, through JSON and back."""
    scene = data.scenes[0]
    return json.loads(json.dumps(judge(scene.read_image(), scene.read_truth())))


def test_a_panoptic_record_counts_by_class() -> None:
    data = flag(["rrbr", "ggbr"], ["0020", "1120"])

    record = judged(PanopticJudge(PromptableColours(), data), data)

    assert record == {"counts": [[0, 2.0, 2, 0, 0], [1, 1.0, 1, 0, 0], [2, 1.0, 1, 0, 0]]}


def test_an_instance_record_holds_masks_with_scores_of_things() -> None:
    panoptics = flag(["rrbr", "ggbr"], ["0020", "1120"])
    data = with_truth(panoptics, lambda truth: things_of(truth, COLOURS))

    record = judged(InstanceJudge(PromptableColours(), data), data)

    assert record["size"] == [24, 48]
    assert sorted(entry["category_id"] for entry in record["answer"]) == [1, 1, 2]
    assert sorted(entry["category_id"] for entry in record["truth"]) == [1, 1, 2]
    assert all(0.9 < entry["score"] <= 1 for entry in record["answer"])
    found = sum(coco.decode(entry["segmentation"]).astype(int) for entry in record["answer"])
    assert np.array_equal(found, blocks(["rrbr", "ggbr"])[..., 2] == 0)


def test_a_prompt_record_has_class_best_and_first_of_each_object() -> None:
    data = scenes(COLOURS, (["r.rr", "...."], objects(["0.00", "...."])))

    record = judged(PromptJudge(PromptableColours(), centre_points()), data)

    assert record["objects"] == [[0, 1.0, pytest.approx(1 / 3)], [0, 1.0, pytest.approx(2 / 3)]]


@pytest.mark.parametrize("task", ["panoptic", "instance", "box"])
def test_a_truth_of_another_size_is_named(task: str) -> None:
    wide = blocks(["rrr"])
    panoptics, segmenter = flag(["rr"], ["00"]), PromptableColours()
    instances = with_truth(panoptics, lambda truth: things_of(truth, COLOURS))
    judges: dict[str, tuple[Any, Any]] = {
        "panoptic": (PanopticJudge(segmenter, panoptics), panoptics.scenes[0].read_truth()),
        "instance": (InstanceJudge(segmenter, instances), instances.scenes[0].read_truth()),
        "box": (PromptJudge(segmenter, tight_boxes()), objects(["00"])),
    }
    judge, truth = judges[task]

    with pytest.raises(DatasetError, match=r"the truth is \(12, 24\), its photograph \(12, 36\) \(height, width\)"):
        judge(wide, truth)
