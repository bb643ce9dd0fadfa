"""Evaluation of a model with known answers on a drawn data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lexiseg_model.data.indexed import IndexedDataset, read_dataset
from lexiseg_model.evaluation.run import Report, Views, evaluate
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.segmenter import TextBank
from tests.model.stand_in import ColourSegmenter, picture


def write_set(root: Path, classes: Sequence[str], *samples: tuple[list[str], list[list[int]]]) -> IndexedDataset:
    """A data set of (picture in letters, mask) pairs; PNG, so that colours stay what they are."""
    folder = root / "flags" / "val"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    (root / "flags" / "classes.json").write_text(json.dumps(classes))
    for index, (rows, mask) in enumerate(samples):
        Image.fromarray(picture(rows)).save(folder / "images" / f"{index}.png")
        Image.fromarray(np.array(mask, np.uint8)).save(folder / "masks" / f"{index}.png")
    return read_dataset(root, "flags", "val")


def per_class(report: Report) -> dict[str, float]:
    return dict(zip(report.classes, report.scores.per_class.tolist(), strict=True))


def test_mistakes_are_counted_per_class(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["red", "green"], (["rrgg"], [[0, 1, 1, 1]]))

    report = evaluate(ColourSegmenter(), data)

    assert per_class(report) == {"red": 50, "green": pytest.approx(200 / 3)}


def test_where_there_is_a_background_nobody_answers_for_it(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["background", "red", "green"], (["r.gb"], [[1, 0, 2, 0]]))

    report = evaluate(ColourSegmenter(), data)

    assert report.scores.miou == 100


def test_a_renamed_class_is_asked_for_by_its_other_word(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["ruby", "green"], (["rg"], [[0, 1]]))

    report = evaluate(ColourSegmenter(), data, {"ruby": "red"})

    assert per_class(report) == {"ruby": 100, "green": 100}


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["red", "green", "violin"], (["rrgg"], [[0, 1, 1, 1]]))

    report = json.loads(json.dumps(evaluate(ColourSegmenter(), data).to_json()))

    assert report == {
        "model": "colours",
        "dataset": "flags",
        "split": "val",
        "images": 1,
        "miou": 58.33,
        "pixel_accuracy": 75.0,
        "per_class": {"red": 50.0, "green": 66.67, "violin": None},
        "renamed": {},
        "refine": "none",
        "scales": [1.0],
        "flip": False,
    }


class Sided(ColourSegmenter):
    """Sees red on the left half of any image, whatever is there; counts the sizes of its canvas."""

    sides: ClassVar[list[int]] = []

    def encode(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Features:
        self.sides.append(self.card.input.short_side)
        return super().encode(rgb, options)

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        scores = torch.zeros(bank.n_classes, 1, 4)
        scores[0, :, :2] = 2.0
        scores[1, :, 2:] = 1.0
        return scores


def test_views_are_averaged_at_every_scale_and_mirrored_back(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["red", "green"], (["rrrr"], [[0, 0, 0, 0]]))
    segmenter = Sided()
    side = segmenter.card.input.short_side

    once, mirrored = evaluate(segmenter, data), evaluate(segmenter, data, views=Views((1.0, 2.0), flip=True))

    assert per_class(once)["red"] == 50
    assert per_class(mirrored)["red"] == 100  # surer of red than of green, once on either side
    assert segmenter.sides == [side, side, side, 2 * side, 2 * side]
    assert segmenter.card.input.short_side == side
