"""Evaluations resume after a kill and run in several processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.scenes import Objects, SceneSet
from lexiseg_train.evaluation.resumable import EvaluationRun, read_records
from lexiseg_train.evaluation.scenes.judges import PromptJudge, centre_points, point_grid, scene_run, tight_boxes
from tests.train.evaluation.scenes.promptable import PromptableColours, classes, objects, scenes


@pytest.mark.parametrize("cut", [1, 5])
def test_a_line_cut_short_is_not_there(tmp_path: Path, cut: int) -> None:
    (tmp_path / "x.jsonl").write_text('["a",{}]\n["b",{"long":"enough"}]\n'[:-cut])

    assert read_records(tmp_path) == {"a": {}}


FLAGS = (["rrg", "rgg"], ["r.r", "..."], ["ggg", "rrr"], ["rgb", "bgr"], ["b.g", "g.b"])


def data_of(n: int = 5) -> SceneSet[Objects]:
    digits = str.maketrans("rgb", "012")
    drawn = [(rows, objects([row.translate(digits) for row in rows])) for rows in FLAGS[:n]]
    return scenes(classes("red", "green", "blue"), *drawn)


def job(data: SceneSet[Objects], progress: Path, judge: Any = None) -> EvaluationRun[Any]:
    segmenter = PromptableColours()
    return scene_run(segmenter, data, "box", judge or PromptJudge(segmenter, tight_boxes()), progress)


class Stopped(Exception):
    """In the place of a signal."""


def stop_after(n: int) -> Any:
    left = [n]

    def on_image() -> None:
        left[0] -= 1
        if not left[0]:
            raise Stopped

    return on_image


@pytest.mark.parametrize(
    ("judge", "change"),
    [
        (centre_points(), {}),
        (point_grid(2), {}),
        (tight_boxes(), {"name": "pennants"}),
        (tight_boxes(), {"classes": classes("red", "green", "navy")}),
    ],
)
def test_another_question_begins_anew(tmp_path: Path, judge: Any, change: dict[str, Any]) -> None:
    with pytest.raises(Stopped):
        job(data_of(), tmp_path).run(stop_after(2))

    segmenter = PromptableColours()
    assert job(replace(data_of(), **change), tmp_path, judge=PromptJudge(segmenter, judge)).n_before == 0


def test_a_failure_names_the_image_and_every_image_before_it_is_written_at_once(tmp_path: Path) -> None:
    data = data_of(3)
    short = replace(data.scenes[0], name="wrong", read_truth=lambda: objects(["0"]))
    wrong = replace(data, scenes=(*data.scenes, short))

    written: list[int] = []

    def on_image() -> None:  # a kill would leave this much
        [folder] = tmp_path.iterdir()
        written.append(len(read_records(folder)))

    with pytest.raises(DatasetError, match=r"wrong: the truth is \(12, 12\), its photograph"):
        job(wrong, tmp_path).run(on_image)

    assert written == [1, 2, 3]
    assert job(wrong, tmp_path).n_before == 3


def test_a_folder_that_other_processes_do_not_see_is_an_error(tmp_path: Path) -> None:
    def on_image() -> None:
        for path in tmp_path.glob("*/*.jsonl"):
            path.unlink()

    with pytest.raises(DatasetError, match="lacks 2 images, such as 'flag-0': every process must see the same folder"):
        job(data_of(2), tmp_path).run(on_image)
