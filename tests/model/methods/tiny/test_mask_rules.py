"""Masks follow the colours of their object and end at their box."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny import mask_rules
from lexiseg_model.methods.tiny.mask_rules import (
    Palette,
    by_own_colours,
    palette,
    worth,
)
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import ClickOrder, OwnColours
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Point, Prompt

SIZE = (24, 32)  # cells of a mask
WITH, WITHOUT = torch.tensor([True]), torch.tensor([False])
BOX = torch.tensor([[16.0, 16.0, 112.0, 80.0]])  # columns 4 to 27, rows 4 to 19
RULE = OwnColours()


@pytest.fixture
def disc() -> tuple[Tensor, Palette]:
    """A red disc on blue: where it is [h, w], and the picture's colours."""
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in SIZE), indexing="ij")
    held = ((x - 16) ** 2 + (y - 12) ** 2) < 49
    cells = torch.where(
        held, torch.tensor([1.5, -0.5, -1.0])[:, None, None], torch.tensor([-1.0, -0.5, 1.5])[:, None, None]
    )
    guide = cells.repeat_interleave(2, 1).repeat_interleave(2, 2) + 0.02 * torch.randn(
        3, 2 * SIZE[0], 2 * SIZE[1], generator=torch.Generator().manual_seed(3)
    )
    return held, palette(guide, SIZE)


@pytest.mark.parametrize("has_box", [WITH, WITHOUT], ids=["box", "click"])
def test_a_shifted_mask_is_moved_to_the_colours_of_its_object(disc: tuple[Tensor, Palette], has_box: Tensor) -> None:
    held, colours = disc
    off = torch.where(held.roll((2, 3), (0, 1)), 1.5, -1.5)[None]

    [coloured] = by_own_colours(off, BOX, has_box, colours, RULE)

    assert iou(off[0] > 0, held) < 0.65
    assert iou(coloured > 0, held) > 0.85


AROUND = (150, 100, 400, 300)


@pytest.mark.parametrize(
    ("prompt", "coloured", "ends"),
    [
        (Prompt((Point(250, 200),)), True, False),
        (Prompt((Point(250, 200), Point(20, 20, False))), True, False),
        (Prompt(box=AROUND), True, True),
        (Prompt((Point(250, 200), Point(20, 20, False)), AROUND), True, True),
        (Prompt(box=AROUND, rough=True), False, False),
        (Prompt((Point(500, 380),), AROUND), False, False),
    ],
    ids=["click", "points", "box", "points inside", "rough box", "point outside"],
)
def test_masks_are_adjusted_by_colour_and_end_at_their_box_unless_it_is_rough_or_has_a_point_outside(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]], prompt: Prompt, coloured: bool, ends: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    features = tiny.encode(photographs["coffee"])
    [as_served] = tiny.prompt(features, [prompt])
    monkeypatch.setattr(mask_rules, "MAX_LOG_RATIO", 0.0)

    [without] = tiny.prompt(features, [prompt])

    assert torch.equal(as_served.masks, without.masks) != coloured
    assert (as_served.masks[0, -1, -1].item() < -100) == ends  # in the corner the ramp is steepest
    if all(point.positive for point in prompt.points):  # a correction is judged after the colours
        assert sorted(as_served.quality.tolist()) == sorted(without.quality.tolist())
    assert isinstance(as_served, PromptMasks)


def iou(mask: Tensor, truth: Tensor) -> float:
    return ((mask & truth).sum() / (mask | truth).sum()).item()


def test_of_equal_estimates_the_stable_mask_is_first() -> None:
    soft = torch.linspace(3, -3, SIZE[1]).expand(SIZE)
    hard = torch.where(torch.arange(SIZE[1]) < 16, 5.0, -5.0).expand(SIZE)
    masks, equal = torch.stack([soft, hard])[None], torch.full((1, 2), 0.5)

    assert worth(masks, equal, ClickOrder(stability=1.0))[0].argmax() == 1
    assert (worth(masks, equal, ClickOrder(stability=0.0)) == equal).all()


def test_masks_of_a_click_are_ordered_by_the_rule_of_the_card(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]]
) -> None:
    features = tiny.encode(photographs["coffee"])
    prompts = [Prompt((Point(x, y),)) for x in (100.0, 250.0, 400.0) for y in (80.0, 200.0, 320.0)]

    answers = tiny.head_masks(features, prompts)

    for answer, served in zip(answers, tiny.prompt(features, prompts), strict=True):
        assert torch.equal(answer.quality, served.quality)
    by_quality_alone = 0
    for answer in answers:
        [worths] = worth(answer.masks[None], answer.quality[None], tiny.settings.clicks)
        assert (worths.diff() <= 0).all()
        by_quality_alone += bool((answer.quality.diff() <= 0).all())
    assert by_quality_alone < len(answers)  # or nothing was changed
