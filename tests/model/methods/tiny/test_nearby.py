"""Masks of boxes from the part of a photograph around them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import Derived, Features
from lexiseg_model.methods.tiny.closer_look import around
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import Prompt


@pytest.fixture(scope="module")
def coffee(tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]) -> Features:
    return tiny.encode(photographs["coffee"])


def test_the_mask_by_the_surroundings_is_that_of_the_whole_image(tiny: TinySegmenter, coffee: Features) -> None:
    height, width = coffee.size
    cup = (0.25 * width, 0.15 * height, 0.78 * width, 0.85 * height)
    prompts = [Prompt(box=cup, single_pass=True)]
    [whole] = tiny.prompt(coffee, prompts)
    fresh = replace(coffee, derived=Derived())

    [nearby] = tiny.near(fresh, np.array([cup]))(prompts)

    one, other = nearby.masks > 0, whole.masks > 0
    assert one.shape == other.shape
    assert (one & other).sum() > 0.95 * (one | other).sum()
    assert torch.allclose(nearby.quality, whole.quality, atol=0.1)
    assert not fresh.derived.nbytes


def test_the_part_around_boxes_is_of_whole_blocks_inside_the_image() -> None:
    part = around(np.array([[300.0, 100.0, 340.0, 140.0], [400.0, 120.0, 511.0, 150.0]]), (72, 128))

    assert (part.rows, part.columns) == (slice(16, 48), slice(64, 128))
