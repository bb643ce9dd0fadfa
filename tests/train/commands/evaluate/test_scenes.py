"""`lexiseg eval` by task: the bundled model on a miniature set, and a model whose answers are known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.model.acme import PACKAGE, installed
from tests.service.commands.command_line import CommandLine, Outcome
from tests.train.data.own.made import save
from tests.train.evaluation.scenes.promptable import PromptableColours, blocks, labels

FLAGS = {"one": (["rrb.", "rrbg"], ["1133", "11x2"]), "two": (["gg.r", "gg.r"], ["22.1", "22.1"])}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set `flags` of two pictures in colours, 0 is the background; PNG, so that colours stay what they are."""
    for name, (rows, digits) in FLAGS.items():
        truth = labels([row.replace(".", "0") for row in digits])
        save(tmp_path / "data" / "flags" / "val", name, blocks(rows), truth, "png")
    (tmp_path / "data" / "flags" / "classes.json").write_text('["background", "red", "green", "blue"]')
    return tmp_path / "data"


SEGMENTER = """
from tests.train.evaluation.scenes.promptable import PromptableColours


def load(folder, card, execution):
    segmenter = PromptableColours()
    segmenter.card = card
    return segmenter
"""


@pytest.fixture
def colours(tmp_path: Path) -> Iterator[Path]:
    """A folder of models with one, of a method of its own: words are colours."""
    with installed(tmp_path / "site"):
        (tmp_path / "site" / PACKAGE / "segmenter.py").write_text(SEGMENTER)
        folder = tmp_path / "models" / "colours"
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"none are needed")
        card = PromptableColours().card.model_copy(update={"method": "acme"}).model_dump(mode="json")
        (folder / "card.yaml").write_text(yaml.safe_dump(card))
        yield tmp_path / "models"


@pytest.fixture
def evaluate(lexiseg: CommandLine, root: Path, colours: Path, tmp_path: Path) -> Any:
    def run(task: str, *options: object, dataset: str = "flags") -> tuple[Outcome, Any]:
        target = tmp_path / "reports" / "report.json"
        outcome = lexiseg(
            "eval", task, "--model", "colours", "--models-dir", colours, "--dataset", dataset, "--root", root,
            "--progress", tmp_path / "progress", "--json", target, *options,
        )  # fmt: skip
        return outcome, json.loads(target.read_text()) if target.exists() else None

    return run


def test_boxes_are_measured_and_reported(evaluate: Any) -> None:
    outcome, report = evaluate("box")

    assert outcome.status == 0, outcome.err
    assert (report["task"], report["dataset"], report["images"]) == ("box", "flags", 2)
    assert report["instances_are"] == "components"
    # Of five objects four are as their boxes; blue is an L without the corner that is ignored.
    assert report["figures"] == {"iou": 100.0, "iou_first": 100.0, "iou_classes": 100.0, "objects": 5}
    assert report["per_class"]["red"]["objects"] == 2


def test_panoptic_quality_has_a_table_and_a_report(evaluate: Any) -> None:
    outcome, report = evaluate("panoptic")

    assert outcome.status == 0, outcome.err
    for word in ("PQ", "SQ", "RQ, things", "red", "instances are components"):
        assert word in outcome.out
    assert report["figures"]["classes"] == 3
    assert report["refine"] == "none"
    assert report["per_class"]["red"]["pq"] == 100.0


def test_instances_are_measured_by_coco_s_ap(evaluate: Any) -> None:
    outcome, report = evaluate("instance")

    assert outcome.status == 0, outcome.err
    assert "AP50" in outcome.out
    assert report["figures"]["instances"] == 5
    assert report["per_class"]["red"] == {"thing": True, "asked": ["red"], "ap": 100.0, "instances": 2}


def test_a_set_without_objects_is_warned_about(evaluate: Any, root: Path) -> None:
    for name, (_, digits) in FLAGS.items():
        empty = np.zeros_like(labels([row.replace(".", "0") for row in digits]))
        Image.fromarray(empty).save(root / "flags" / "val" / "masks" / f"{name}.png")

    outcome, report = evaluate("box")

    assert outcome.status == 0, outcome.err
    assert report["warnings"] == ["2 photographs of flags show no objects: nothing is measured"]
    assert "warning: 2 photographs of flags show no objects" in outcome.err


def test_an_unusable_annotation_of_a_json_is_warned_about(evaluate: Any, root: Path) -> None:
    size = {"height": 8, "width": 8}
    Image.new("RGB", (8, 8)).save(root / "a.png")
    square = {"image_id": 1, "category_id": "1", "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
    far = {**square, "id": 9, "segmentation": [[1e9, 1, 5, 1, 5, 5]]}
    content = {
        "images": [{"id": "1", "file_name": "a.png", **size}],
        "annotations": [square, far],
        "categories": [{"id": 1, "name": "red"}],
    }
    (root / "mine.json").write_text(json.dumps(content))

    outcome, report = evaluate("box", dataset="mine.json")

    assert outcome.status == 0, outcome.err
    assert report["figures"]["objects"] == 1
    fault = "annotation 9 of a.png: a polygon with a corner at"
    assert f"mine.json cannot be used, their pixels are ignored: {fault}" in outcome.err
