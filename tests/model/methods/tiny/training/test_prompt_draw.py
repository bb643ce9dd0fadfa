"""Prompts that are drawn: points lie where they say they do, boxes hold their object, targets are its share."""

from __future__ import annotations

import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_the_others_have_a_box_or_several_points(drawn: Drawn) -> None:
    several = (drawn.signs[LONE:] != 0).sum(1) > 1

    assert (several | (drawn.has_box[LONE:] == 1)).all()
    assert several.any()
    assert (drawn.has_box[LONE:] == 1).any()


def test_a_prompt_that_will_be_corrected_is_one_point_to_begin_with() -> None:
    drawn = draw(scene(), 2, 6, np.random.default_rng(0), corrected=3)

    assert drawn.signs[-3:].tolist() == [[1, 0, 0, 0]] * 3
    assert not drawn.has_box[-3:].any()


def test_a_crop_and_its_prompts_fit_together(tmp_path: Path) -> None:
    source = MaskSet(share=1.0, nothing=0)
    samples = read_samples(write_shapes(tmp_path), "shapes", source)

    ((crop, drawn),) = next(iter(PromptCrops([(source, samples)], 64, 3, 2, 0, batch=1, seed=0)))

    assert crop.shape == (64, 64, 3)
    assert drawn.targets.shape == (5, 16, 16)
    assert drawn.targets.any((1, 2)).all()
    assert drawn.points.min() >= 0
    assert drawn.points.max() <= 64


def test_crops_of_one_seed_are_the_same(tmp_path: Path) -> None:
    source = MaskSet(share=1.0, nothing=0)
    sources = [(source, read_samples(write_shapes(tmp_path), "shapes", source))]
    first, second = (chain.from_iterable(PromptCrops(sources, 64, 3, 2, 1, batch=2, seed=4)) for _ in range(2))

    for _ in range(3):
        (one, drawn), (other, again) = next(first), next(second)
        np.testing.assert_array_equal(one, other)
        for part, same in zip(drawn, again, strict=True):
            np.testing.assert_array_equal(part, same)


def test_sets_are_drawn_from_by_their_shares(tmp_path: Path) -> None:
    often, seldom = MaskSet(share=3.0, nothing=0), MaskSet(share=1.0, nothing=0)
    samples = read_samples(write_shapes(tmp_path), "shapes", often)
    black = np.zeros((64, 64, 3), np.uint8)
    (tmp_path / "black").mkdir()
    Image.fromarray(black).save(tmp_path / "black" / "000.png")
    dark = [dataclasses.replace(sample, image=tmp_path / "black" / "000.png") for sample in samples]
    batches = PromptCrops([(often, samples), (seldom, tuple(dark))], 64, 1, 1, 0, batch=4, seed=0)
    crops = chain.from_iterable(batches)

    # Beyond the edge of a photograph a crop is gray, not black.
    of_seldom = sum(np.median(next(crops)[0]) == 0 for _ in range(200))

    assert 0.15 < of_seldom / 200 < 0.35
