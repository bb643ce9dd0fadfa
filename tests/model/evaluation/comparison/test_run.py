from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lexiseg_model.evaluation.comparison.bootstrap import comparison, examine, read_pair
from tests.model.evaluation.test_run import write_set
from tests.model.stand_in import ColourSegmenter

SAMPLE = (["rrgg"], [[0, 0, 1, 1]])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four flags to be examined, and the same four as the training split."""
    write_set(tmp_path, ["red", "green"], SAMPLE, SAMPLE, SAMPLE, SAMPLE)
    shutil.copytree(tmp_path / "flags" / "val", tmp_path / "flags" / "train")
    return tmp_path


def test_photographs_of_the_training_split_stand_beside(root: Path) -> None:
    pair = read_pair(root, "flags", "val")
    announced: list[None] = []

    examination = examine(ColourSegmenter(), pair, lambda: announced.append(None))

    assert (len(examination.records), len(examination.train)) == (4, 4)
    assert len(announced) == pair.photographs == 8
    rows = comparison(pair, examination, examination).differences
    assert [row.measure for row in rows][:3] == ["mIoU", "mIoU, train-4", "only present"]
    assert rows[1].a == 100


def test_the_report_is_plain_json_with_null_for_what_was_not_measured(tmp_path: Path) -> None:
    write_set(tmp_path, ["red", "green"], SAMPLE)
    pair = read_pair(tmp_path, "flags", "val")
    examination = examine(ColourSegmenter(), pair)

    report = json.loads(json.dumps(comparison(pair, examination, examination).to_json()))

    assert (report["dataset"], report["images"], report["train_images"]) == ("flags", 1, 0)
    assert report["measures"]["mIoU"] == {
        "a": 100, "a_error": 0, "b": 100, "b_error": 0, "difference": 0, "interval": [0, 0], "in_favour_of_b": 50,
    }  # fmt: skip
    assert report["measures"]["presence AUC"]["a"] is None  # for want of a class that is absent
