"""Fitting the settings of prompt answers on objects."""

from pathlib import Path

import pytest

from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_train.data.read_scenes import read_object_scenes
from lexiseg_train.methods.tiny.prompts import rules as prompt_rules
from lexiseg_train.methods.tiny.prompts.rules import fit, gather, measure, replaced


def test_a_fit_improves_bad_settings(tiny: TinySegmenter, cups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"cups": gather(tiny, read_object_scenes("cups", cups, "train").scenes)}
    bundled = tiny.settings
    monkeypatch.setattr(prompt_rules, "GRID", {"boxes.low_quality": (0.0, 40.0)})
    monkeypatch.setattr(tiny, "settings", replaced(bundled, "boxes.low_quality", 0.0))
    [worse] = measure(tiny, sets, tiny.settings)

    fitted = fit(tiny, sets)

    assert fitted.boxes.low_quality == 40.0  # the object is as square as its box
    assert measure(tiny, sets, fitted) > [worse]
