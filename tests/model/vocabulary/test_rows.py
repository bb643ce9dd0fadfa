"""Texts are encoded once in a run."""

from __future__ import annotations

from lexiseg_model.vocabulary.rows import KnownRows
from tests.model.stand_in import ColourSegmenter


def test_a_text_is_encoded_once() -> None:
    segmenter = ColourSegmenter()
    rows = KnownRows(segmenter)

    rows(["red", "blue"])
    rows(["blue", "green", "blue"])

    assert segmenter.asked == ["red", "blue", "green"]
