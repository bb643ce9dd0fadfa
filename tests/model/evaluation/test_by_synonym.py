"""Class lists asked by other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lexiseg_model.evaluation.by_synonym import called, evaluate, table
from tests.model.evaluation.test_run import write_set
from tests.model.stand_in import ColourSegmenter

SYNONYMS = {"red": ["green", "scarlet", "crimson"], "green": ["blue"], "amber": ["scarlet"]}


def test_a_synonym_is_no_other_class_and_no_others_synonym() -> None:
    assert called(["red", "green", "amber", "pink"], SYNONYMS) == ["scarlet", "blue", "amber", "pink"]


def test_drawn_synonyms_are_those_of_the_seed() -> None:
    drawn = {called(["red"], SYNONYMS, np.random.default_rng(seed))[0] for seed in range(20)}

    assert drawn == {"green", "scarlet", "crimson"}


def test_what_synonyms_keep_is_told_beside_own_names(tmp_path: Path) -> None:
    data = write_set(tmp_path, ["red", "green"], (["rrgg"] * 4, [[0, 0, 1, 1]] * 4))

    first, drawn = evaluate(ColourSegmenter(), data, {"red": ["green", "crimson"]})
    lost, _ = evaluate(ColourSegmenter(), data, {"green": ["blue"]})

    assert (first.a, first.b, drawn.b) == (100, 100, 100)
    assert lost.b < 100
    assert list(table({"flags": [first, drawn]}))[2].endswith("100.0 -> 100.0 (+0.0 to +0.0), 100.0 % |")
