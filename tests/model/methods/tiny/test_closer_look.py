"""Small boxes, looked at closer: which they are, what of the picture is enlarged, and where its masks come to lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.features import Derived, Features
from lexiseg_model.methods.tiny.closer_look import KEPT, Look, Looks, Whole, kept_picture, look_at, looked_at, on_cells
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import LookRule
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Point, Prompt

RULE = LookRule()
MULTIPLE = 32
SMALL = Prompt(box=(100, 100, 140, 130))
Photographs = dict[str, NDArray[np.uint8]]


def whole(size: tuple[int, int] = (288, 384), kept: tuple[int, int] = (288, 384)) -> Whole:
    """An image whose input has 288 x 384 pixels."""
    return Whole(size, torch.zeros(*kept, 3, dtype=torch.uint8), (72, 96), Derived())


@pytest.fixture(scope="module")
def coffee(tiny: TinySegmenter, photographs: Photographs) -> Features:
    plan = tiny.plan(photographs["coffee"])
    return tiny.assemble(plan, tiny.encode_tiles(plan.tiles))


def test_a_look_is_around_its_box_twice_as_wide_and_high() -> None:
    look = look_at(SMALL, whole(), MULTIPLE, RULE)

    assert look is not None
    assert (look.left, look.right, look.top, look.bottom) == (80, 160, 85, 145)
    assert look.input == (160, 192)  # 2.5 times 60 and 80, to multiples


def test_a_look_of_a_box_at_the_border_lies_in_the_picture() -> None:
    look = look_at(Prompt(box=(360, 270, 384, 288)), whole(), MULTIPLE, RULE)

    assert look is not None
    assert (look.right, look.bottom) == (384, 288)
    assert look.size == (55, 74)  # as large as a square of 64


def test_a_look_is_told_in_pixels_of_the_picture_that_is_kept() -> None:
    box = Prompt(box=(1000, 1000, 1400, 1300))  # SMALL, of an image ten times as large
    look = look_at(box, whole((2880, 3840), (576, 768)), MULTIPLE, RULE)

    assert look == Look(170, 160, 290, 320, (160, 192))


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(box=(0, 0, 200, 150)),
        replace(SMALL, rough=True),
        replace(SMALL, glance=True),
        replace(SMALL, points=(Point(10, 10),)),
        Prompt((Point(10, 10),)),
    ],
    ids=["large", "rough", "glance", "point outside", "click"],
)
def test_what_is_not_looked_at(prompt: Prompt) -> None:
    assert look_at(prompt, whole(), MULTIPLE, RULE) is None


@pytest.mark.parametrize("box", [(5, 5, 5.5, 280), (5, 5, 380, 5.5), (5, 5, 5, 5)])
def test_boxes_that_are_thin_have_looks_of_some_width(box: tuple[float, float, float, float]) -> None:
    look = look_at(Prompt(box=box), whole(), MULTIPLE, RULE)

    assert look is None or min(look.input) >= MULTIPLE


PART = Features((60, 80), {"pixels": torch.zeros(96, 40, 48)})


def encode(tile: NDArray[np.uint8], size: tuple[int, int]) -> Features:
    assert tile.shape == (1, 3, 160, 192)
    assert size == PART.size
    return replace(PART)


def test_a_part_is_asked_in_its_own_pixels() -> None:
    asked: list[Prompt] = []

    def answer(part: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        assert part == PART
        asked.extend(prompts)
        return [PromptMasks(torch.ones(1, 40, 48), torch.ones(1))]

    points = (Point(110, 110), Point(120, 150, positive=False), Point(150, 140, positive=False))
    prompts = [Prompt(box=(0, 0, 300, 200)), replace(SMALL, points=points)]
    answers = looked_at(prompts, whole(), MULTIPLE, RULE, encode, answer)

    assert list(answers) == [1]
    assert asked[0].box == (20, 15, 60, 45)
    assert asked[0].points == (Point(30, 25), Point(70, 55, positive=False))  # the other is not to be seen


def test_masks_of_a_part_lie_where_it_is() -> None:
    look = Look(80, 160, 144, 288, (128, 256))  # cells 20 to 36, 40 to 72
    masks = torch.full((1, 32, 64), -1.0)
    masks[:, :16, :32] = 3.0

    placed = on_cells(masks, look, whole())

    assert placed.shape == (1, 72, 96)
    assert (placed[0, 20:28, 40:56] == 3).all()
    assert (placed[0, 28:36, 40:72] == -1).all()
    assert (placed[0] > -1).sum() == 8 * 16
    assert (placed[0, :20] < -1).all()


def test_a_cell_has_the_mean_of_what_it_covers() -> None:
    masks = torch.arange(4.0)[None, None].expand(1, 3, 4)  # across 2 cells: halves of 0 and 1, of 2 and 3
    placed = on_cells(masks, Look(80, 160, 92, 168, (32, 32)), whole())

    torch.testing.assert_close(placed[0, 20:23, 40:42], torch.tensor([[0.5, 2.5]]).expand(3, 2))


def test_a_small_picture_is_kept_as_it_is_and_a_large_one_smaller(photographs: Photographs) -> None:
    picture = photographs["chelsea"].copy()
    same, smaller = kept_picture(picture, (288, 448)), kept_picture(picture, (96, 160))

    assert same is picture
    assert smaller.shape == (KEPT * 96, KEPT * 160, 3)


def test_of_a_picture_that_is_part_of_another_a_copy_is_kept(photographs: Photographs) -> None:
    picture = photographs["chelsea"].copy()[:, ::-1]
    same = kept_picture(picture, (288, 448))

    assert np.array_equal(same, picture)
    assert not np.shares_memory(same, picture)


def test_a_small_boxs_mask_is_another_than_at_a_glance_and_stays_in_it(tiny: TinySegmenter, coffee: Features) -> None:
    spoon = Prompt(box=(170, 130, 230, 180))
    [close] = tiny.prompt(coffee, [spoon])
    [glance] = tiny.prompt(coffee, [replace(spoon, glance=True)])

    rows, columns = torch.nonzero(close.masks[0] > 0).T * 4
    height, width = (4 * side for side in close.masks.shape[1:])
    scale = width / coffee.size[1], height / coffee.size[0]
    assert close.masks.shape == glance.masks.shape
    assert not torch.equal(close.masks, glance.masks)
    assert 170 * scale[0] - 4 <= columns.min()
    assert columns.max() <= 230 * scale[0]
    assert 130 * scale[1] - 4 <= rows.min()
    assert rows.max() <= 180 * scale[1]


def test_a_box_that_is_corrected_is_not_looked_at_twice(tiny: TinySegmenter, coffee: Features) -> None:
    fresh = replace(coffee, derived=Derived())
    spoon = Prompt(box=(170, 130, 230, 180))
    before = fresh.nbytes
    [first] = tiny.prompt(fresh, [spoon])
    grown = fresh.nbytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "_part", None)
        [again] = tiny.prompt(fresh, [spoon])
        tiny.prompt(fresh, [replace(spoon, points=(Point(180, 140, positive=False),))])

    assert torch.equal(again.masks, first.masks)
    [look] = fresh.derived.once("looks", lambda: Looks(1))
    assert grown - before == look.nbytes > 100_000  # what the look holds weighs with the image


def test_a_glance_needs_no_picture(tiny: TinySegmenter, coffee: Features) -> None:
    without = Features(coffee.size, {name: part for name, part in coffee.tensors.items() if name != "picture"})

    [glance] = tiny.prompt(coffee, [replace(SMALL, glance=True)])
    [answer] = tiny.prompt(without, [SMALL])

    assert torch.equal(answer.masks, glance.masks)


def test_a_close_answer_does_not_depend_on_its_company(tiny: TinySegmenter, coffee: Features) -> None:
    others = [Prompt((Point(300, 200),)), Prompt(box=(20, 30, 400, 300)), Prompt(box=(300, 100, 340, 160))]

    [alone] = tiny.prompt(coffee, [SMALL])
    together = tiny.prompt(coffee, [others[0], SMALL, *others[1:]])

    assert torch.equal(together[1].masks, alone.masks)
    assert torch.equal(together[1].quality, alone.quality)
