"""Masks of boxes end where their box does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import encode_spans
from lexiseg_model.methods.tiny.boxes.rule import kept_inside, within
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule
from lexiseg_model.types import Point, Prompt

EXACT = BoxRule(more=0, small=0, slack=0)
SIZE = (64, 96)  # pixels of the input
BOX = (18, 10, 50, 40)
SURE = torch.ones(1)  # of a mask's quality


def outer(masks: torch.Tensor, size: tuple[int, int] = SIZE) -> tuple[int, int, int, int]:
    """x, y, width, height at `size`."""
    return encode_spans(cut(masks[0].numpy(), size), size).bbox


def test_a_mask_that_goes_on_ends_at_the_edges_of_its_box() -> None:
    everywhere = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), 9.0)

    assert outer(kept_inside(everywhere, SURE, torch.tensor(BOX), EXACT)) == (18, 10, 32, 30)


def test_slack_is_a_share_of_a_side() -> None:
    everywhere = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), 9.0)

    x, y, width, height = outer(kept_inside(everywhere, SURE, torch.tensor(BOX), BoxRule(more=0, slack=0.125)))

    assert (x, width) == (14, 40)
    assert abs(height - 37.5) <= 1
    assert abs(y - 6.25) <= 1


def test_what_the_head_nearly_sees_inside_is_there() -> None:
    nearly = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), -0.5)

    assert (kept_inside(nearly, SURE, torch.tensor(BOX), EXACT) < 0).all()
    assert (kept_inside(nearly, SURE, torch.tensor(BOX), BoxRule(more=1, slack=0)) > 0).any()


def test_the_less_is_expected_of_a_mask_the_more_cells_it_takes() -> None:
    nearly = torch.full((2, SIZE[0] // 4, SIZE[1] // 4), -0.5)

    rule = EXACT.model_copy(update={"doubt": 1})
    good, poor = kept_inside(nearly, torch.tensor([0.9, 0.5]), torch.tensor(BOX), rule)

    assert (good < 0).all()  # -0.5 lies below the logarithm of 0.9,
    assert (poor > 0).any()  # and above that of 0.5


def test_a_box_of_few_cells_is_nearly_filled() -> None:
    nearly = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), -0.5)
    rule = EXACT.model_copy(update={"small": 4})

    small, large, nothing = (
        kept_inside(nearly, SURE, torch.tensor(box), rule).max() for box in ((16, 8, 24, 16), BOX, (20, 12, 20, 12))
    )

    assert small == pytest.approx(4 / 4 - 0.5)
    assert large == pytest.approx(4 / 60 - 0.5)
    assert nothing <= 0


def test_a_quality_of_nothing_has_a_logarithm() -> None:
    nowhere = torch.full((1, SIZE[0] // 4, SIZE[1] // 4), -50.0)

    assert kept_inside(nowhere, torch.zeros(1), torch.tensor(BOX), BoxRule(doubt=2)).isfinite().all()


def test_cells_are_in_a_box_with_their_centres() -> None:
    [cells] = within(torch.tensor([BOX]), (SIZE[0] // 4, SIZE[1] // 4))

    rows, columns = torch.where(cells)
    assert (rows.min().item(), rows.max().item()) == (3, 9)  # 10 is the edge; 14, 18 ... 38
    assert (columns.min().item(), columns.max().item()) == (5, 11)  # 18 is an edge; 22, 26 ... 46; 50 is the other


def test_a_larger_box_is_a_cell_larger_at_least() -> None:
    small = torch.tensor([[40.0, 20.0, 44.0, 60.0]])

    [tight], [wide] = (within(small, (SIZE[0] // 4, SIZE[1] // 4), beyond) for beyond in (0.0, 0.25))

    assert tight.sum(dim=1).max() == 1
    assert wide.sum(dim=1).max() == 3
    assert wide.sum(dim=0).max() == 2 + 10 + 1  # two above, and all that the picture has below


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
