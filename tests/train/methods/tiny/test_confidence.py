"""Calibration of scores on random class lists."""

import json
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.cards import ScoreRule
from lexiseg_train.data.indexed import read_dataset
from lexiseg_train.methods.tiny.publish import Segments, calibration_error, fit, gather, scores
from tests.model.stand_in import COLOURS, ColourSegmenter
from tests.train.data.own.made import save

CLASSES = ("background", "red", "green", "blue")


def draw(root: Path) -> Path:
    """Writes `colours/train` under `root`; returns `root`."""
    for value, name in enumerate(CLASSES[1:], start=1):
        pixels, mask = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
        pixels[:, :8], mask[:, :8] = COLOURS[name], value
        save(root / "colours" / "train", name, pixels, mask, "png")
    (root / "colours" / "classes.json").write_text(json.dumps(CLASSES))
    return root


TRUE = ScoreRule(presence=1.0, probability=0.5, classes=-0.25, area=0.5, bias=-0.5)


def drawn(n: int) -> Segments:
    """Segments that are right as often as the rule TRUE says."""
    random = np.random.default_rng(0)
    inputs = random.normal(0, 2, (n, 4))
    right = random.random(n) < scores(Segments(inputs, np.zeros(n, bool)), TRUE)
    return Segments(inputs, right)


def test_the_fit_recovers_the_true_rule_and_is_calibrated() -> None:
    segments = drawn(20_000)

    found = fit(segments)

    for name in ("presence", "probability", "classes", "area", "bias"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), abs=0.1)
    assert calibration_error(scores(segments, found), segments.right) < 0.02


def test_segments_are_right_where_their_class_is_present(tmp_path: Path) -> None:
    found = gather(ColourSegmenter(), read_dataset(draw(tmp_path), "colours", "train"), 10, ["velvet"])

    assert found.inputs.shape == (len(found.right), 4)
    assert found.right.any()
