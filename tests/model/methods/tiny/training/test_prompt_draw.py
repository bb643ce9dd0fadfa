"""Prompts that are drawn: points lie where they say they do, boxes hold their object, targets are its share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.data.scenes import Objects
from lexiseg_model.methods.tiny.training.prompt_draw import Drawn, PromptCrops, draw
from lexiseg_model.methods.tiny.training.prompt_objects import MaskSet, read_samples
from tests.model.methods.tiny.training.shapes import write_shapes

SIDE = 48  # labels
LONE, SURE = 40, 80


def scene() -> Objects:
    """A square and a long bar; a strip that counts nowhere."""
    ids = np.zeros((SIDE, SIDE), np.int32)
    ids[4:20, 6:22] = 1
    ids[30:34, 2:46] = 2
    ignored = np.zeros((SIDE, SIDE), bool)
    ignored[40:] = True
    return Objects(ids, (1, 2), ignored)


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw(scene(), LONE, SURE, np.random.default_rng(0))


def test_lone_prompts_are_one_positive_point_each(drawn: Drawn) -> None:
    assert drawn.signs[:LONE].tolist() == [[1, 0, 0, 0]] * LONE
    assert not drawn.has_box[:LONE].any()


def test_a_crop_and_its_prompts_fit_together(tmp_path: Path) -> None:
    source = MaskSet(share=1.0, nothing=0)
    samples = read_samples(write_shapes(tmp_path), "shapes", source)

    ((crop, drawn),) = next(iter(PromptCrops([(source, samples)], 64, 3, 2, 0, batch=1, seed=0)))

    assert crop.shape == (64, 64, 3)
    assert drawn.targets.shape == (5, 16, 16)
    assert drawn.targets.any((1, 2)).all()
    assert drawn.points.min() >= 0
    assert drawn.points.max() <= 64
