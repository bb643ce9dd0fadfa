"""Fitting the settings of prompt answers on objects."""

from pathlib import Path

import pytest

from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_train.data.read_scenes import read_object_scenes
from lexiseg_train.methods.tiny.prompts import rules as prompt_rules
from lexiseg_train.methods.tiny.prompts.rules import fit, gather, measure


def test_a_fit_improves_bad_settings(tiny: TinySegmenter, cups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"cups": gather(tiny, read_object_scenes("cups", cups, "train").scenes)}
    monkeypatch.setattr(prompt_rules, "GRID", {"low_quality": (0.0, 40.0)})
    monkeypatch.setattr(tiny, "settings", tiny.settings)
    [worse] = measure(tiny, sets, BoxRule(low_quality=0.0))

    fitted = fit(tiny, sets)

    assert fitted.low_quality == 40.0  # the object is as square as its box
    assert measure(tiny, sets, fitted) > [worse]
