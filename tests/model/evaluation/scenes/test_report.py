"""Reports beyond semantic, as JSON and as rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lexiseg_model.data.scenes import SceneSet
from lexiseg_model.evaluation.scenes.figures import Figures, panoptic_figures, prompt_figures
from lexiseg_model.evaluation.scenes.report import COLUMNS, TITLES, SceneReport, SceneTask, shown
from tests.model.evaluation.scenes.promptable import PromptableColours, classes, objects, scenes

DATA: SceneSet[Any] = scenes(
    classes("red", "green", "sky", stuff=["sky"]), (["rr", "gg"], objects(["00", "11"])), background=True
)


def report(task: SceneTask, figures: Figures, settings: dict[str, Any]) -> SceneReport:
    segmenter = PromptableColours()
    return SceneReport(task, segmenter.card, segmenter.digest, DATA, settings, figures)


def boxes() -> SceneReport:
    return report("box", prompt_figures([{"objects": [[0, 1.0, 0.5], [0, 0.5, 0.5]]}], DATA.classes), {})


def test_json_says_what_was_measured_and_by_what() -> None:
    values = json.loads(json.dumps(boxes().to_json()))

    assert values == {
        "task": "box", "model": "colours", "model_version": "1", "model_digest": "colours",
        "dataset": "flags", "split": "val", "images": 1, "official_images": None, "instances_are": "components",
        "figures": {"iou": 75.0, "iou_first": 50.0, "iou_classes": 75.0, "objects": 2},
        "per_class": {
            "red": {"thing": True, "asked": ["red"], "iou": 75.0, "iou_first": 50.0, "objects": 2},
            "green": {"thing": True, "asked": ["green"], "iou": None, "iou_first": None, "objects": 0},
            "sky": {"thing": False, "asked": ["sky"], "iou": None, "iou_first": None, "objects": 0},
        },
    }  # fmt: skip


def test_settings_of_the_judge_stand_in_the_json() -> None:
    values = report("point", prompt_figures([], DATA.classes), {"points": "grid", "grid": 20}).to_json()

    assert (values["points"], values["grid"]) == ("grid", 20)


def test_only_classes_that_have_something_to_show_get_a_row() -> None:
    assert boxes().class_rows() == [("red", "75.00", "50.00", "2")]


def test_a_class_that_was_only_missed_is_shown() -> None:
    found = report("panoptic", panoptic_figures([{"counts": [[1, 0.0, 0, 0, 3]]}], DATA.classes), {})

    assert found.class_rows() == [("green", "0.00", "0.00", "0.00", "0", "0", "3")]


def test_every_figure_has_a_title_and_every_task_its_columns() -> None:
    empty = {"panoptic": panoptic_figures([], DATA.classes), "box": prompt_figures([], DATA.classes)}

    for name, figures in empty.items():
        assert set(figures.whole) <= set(TITLES)
        assert set(COLUMNS[name]) <= set(figures.per_class[0])  # type: ignore[index]


def test_figures_come_under_readable_names() -> None:
    assert boxes().titled_figures()[0] == ("IoU of the best, mean of objects", "75.00")


def test_numbers_of_things_have_no_decimals() -> None:
    assert [shown(value) for value in (None, 12345, 12.3456)] == ["-", "12,345", "12.35"]


def test_a_part_of_a_split_says_how_many_images_it_has() -> None:
    values = replace(boxes(), data=replace(DATA, official=5000)).to_json()

    assert (values["images"], values["official_images"]) == (1, 5000)
