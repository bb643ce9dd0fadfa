"""Calibration: the present class is found, the absent one paints little."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.training.calibrate import ALLOWED_PAINT, MARGINS, OFFSETS, calibrate
from lexiseg_model.types import Refinement
from tests.model.methods.tiny.training.colours import draw
from tests.model.stand_in import ColourSegmenter


def test_what_is_chosen_paints_little_of_what_is_not_there(tmp_path: Path) -> None:
    data = read_dataset(draw(tmp_path), "colours", "train")

    found = calibrate(ColourSegmenter(), [data], ["velvet"], seed=0)

    assert found.absent_paint <= ALLOWED_PAINT
    assert found.present_iou > 0.9
    assert found.rule.offset in OFFSETS
    assert found.rule.margin in MARGINS


def test_a_model_that_takes_likeness_for_sameness_needs_an_offset(tmp_path: Path) -> None:
    class Gullible(ColourSegmenter):
        def nobody_score(
            self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
        ) -> Tensor:
            return torch.tensor(-0.75)  # even a colour that is not there clears it

    data = read_dataset(draw(tmp_path), "colours", "train")

    strict, gullible = (calibrate(model, [data], [], seed=0) for model in (ColourSegmenter(), Gullible()))

    assert strict.rule.offset == 0
    assert gullible.rule.offset > 0


def test_words_and_likeness_of_the_card_stay(tmp_path: Path) -> None:
    data = read_dataset(draw(tmp_path), "colours", "train")
    segmenter = ColourSegmenter(words=["blue"])

    rule = calibrate(segmenter, [data], [], seed=0).rule

    assert rule.words == ["blue"]
    assert rule.same_meaning == segmenter.card.background.same_meaning


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_chooses_the_same(tmp_path: Path, seed: int) -> None:
    data = read_dataset(draw(tmp_path), "colours", "train")

    first, second = (calibrate(ColourSegmenter(), [data], ["lime"], seed) for _ in range(2))

    assert first == second
