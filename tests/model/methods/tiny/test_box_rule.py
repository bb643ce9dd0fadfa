"""Masks of boxes end where their box does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import encode_spans
from lexiseg_model.methods.tiny.box_rule import kept_inside
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.types import Point, Prompt

EXACT = BoxRule(more=0, slack=0)
SIZE = (64, 96)  # pixels of the input
BOX = (18, 10, 50, 40)


def outer(masks: torch.Tensor, size: tuple[int, int] = SIZE) -> tuple[int, int, int, int]:
    """x, y, width, height at `size`."""
    return encode_spans(cut(masks[0].numpy(), size), size).bbox


def test_a_mask_that_goes_on_ends_at_the_edges_of_its_box() -> None:
    everywhere = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), 9.0)

    assert outer(kept_inside(everywhere, torch.tensor(BOX), EXACT)) == (18, 10, 32, 30)


def test_slack_is_a_share_of_a_side() -> None:
    everywhere = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), 9.0)

    x, y, width, height = outer(kept_inside(everywhere, torch.tensor(BOX), BoxRule(more=0, slack=0.125)))

    assert (x, width) == (14, 40)
    assert abs(height - 37.5) <= 1
    assert abs(y - 6.25) <= 1


def test_what_the_head_nearly_sees_inside_is_there() -> None:
    nearly = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), -0.5)

    assert (kept_inside(nearly, torch.tensor(BOX), EXACT) < 0).all()
    assert (kept_inside(nearly, torch.tensor(BOX), BoxRule(more=1, slack=0)) > 0).any()


@pytest.mark.parametrize(
    ("prompt", "ends"),
    [
        (Prompt(box=(150, 100, 400, 300)), True),
        (Prompt((Point(250, 200), Point(20, 20, False)), (150, 100, 400, 300)), True),
        (Prompt((Point(500, 380),), (150, 100, 400, 300)), False),
        (Prompt(box=(150, 100, 400, 300), rough=True), False),
    ],
    ids=["box", "points inside", "point outside", "rough"],
)
def test_a_mask_may_leave_a_rough_box_and_one_with_a_point_outside(
    tiny: TinySegmenter, photographs: dict[str, NDArray[np.uint8]], prompt: Prompt, ends: bool
) -> None:
    cup = photographs["coffee"]
    plan = tiny.plan(cup)
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))

    [answer] = tiny.prompt(features, [prompt])

    far = answer.masks[0, -1, -1].item()  # the corner, where the ramp is steepest
    assert (far < -100) == ends
