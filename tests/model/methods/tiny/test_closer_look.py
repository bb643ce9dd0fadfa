"""A second, enlarged image pass for small boxes, and masks of boxes from the part of a photograph around them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lexiseg_model.features import Derived, Features
from lexiseg_model.methods.tiny.closer_look import Crop, around, crop_for
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import LookRule
from lexiseg_model.resources.lru import Lru
from lexiseg_model.types import Point, Prompt

RULE = LookRule()
MULTIPLE = 32
SMALL = Prompt(box=(100, 100, 140, 130))


def whole() -> Features:
    """An image of 288 x 384 pixels, as large as the network's input."""
    return Features(
        (288, 384), {"picture": torch.zeros(288, 384, 3, dtype=torch.uint8), "pixels": torch.zeros(1, 72, 96)}
    )


def test_a_closer_look_covers_twice_the_box() -> None:
    look = crop_for(SMALL, whole(), MULTIPLE, RULE)

    assert look is not None
    assert (look.left, look.right, look.top, look.bottom) == (80, 160, 85, 145)
    assert look.input == (160, 192)  # 2.5 times 60 and 80, to multiples


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=(0, 0, 200, 150)), replace(SMALL, rough=True), replace(SMALL, single_pass=True),
        replace(SMALL, points=(Point(10, 10),)), Prompt((Point(10, 10),)),
    ],
    ids=["large", "rough", "single pass", "point outside", "click"],
)  # fmt: skip
def test_large_rough_and_corrected_prompts_get_no_closer_look(prompt: Prompt) -> None:
    assert crop_for(prompt, whole(), MULTIPLE, RULE) is None


def test_a_closer_look_changes_the_mask_and_keeps_it_in_its_box(tiny: TinySegmenter, coffee: Features) -> None:
    spoon = Prompt(box=(170, 130, 230, 180))
    [close] = tiny.prompt(coffee, [spoon])
    [whole] = tiny.prompt(coffee, [replace(spoon, single_pass=True)])

    rows, columns = torch.nonzero(close.masks[0] > 0).T * 4
    height, width = (4 * side for side in close.masks.shape[1:])
    scale = width / coffee.size[1], height / coffee.size[0]
    assert close.masks.shape == whole.masks.shape
    assert not torch.equal(close.masks, whole.masks)
    assert 170 * scale[0] - 4 <= columns.min()
    assert columns.max() <= 230 * scale[0]
    assert 130 * scale[1] - 4 <= rows.min()
    assert rows.max() <= 180 * scale[1]


def test_a_corrected_box_reuses_its_closer_look(tiny: TinySegmenter, coffee: Features) -> None:
    fresh = replace(coffee, derived=Derived())
    spoon = Prompt(box=(170, 130, 230, 180))
    before = fresh.nbytes
    [first] = tiny.prompt(fresh, [spoon])
    grown = fresh.nbytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "encode_tiles", None)
        [again] = tiny.prompt(fresh, [spoon])
        tiny.prompt(fresh, [replace(spoon, points=(Point(180, 140, positive=False),))])

    assert torch.equal(again.masks, first.masks)
    looks: Lru[Crop, Features] = fresh.derived.once("looks", lambda: Lru[Crop, Features](1))
    [look] = looks.values()
    assert grown - before == look.nbytes > 100_000  # what the look holds weighs with the image


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
