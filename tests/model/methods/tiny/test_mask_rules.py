"""Masks follow the colours of their object, and end where their box does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.rle import encode_spans
from lexiseg_model.methods.tiny import mask_rules
from lexiseg_model.methods.tiny.mask_rules import MAX_MASKS, Palette, by_own_colours, kept_inside, palette
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import BoxRule, OwnColours
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
def test_a_mask_that_is_off_is_brought_to_its_objects_colours(disc: tuple[Tensor, Palette], has_box: Tensor) -> None:
    held, colours = disc
    off = torch.where(held.roll((2, 3), (0, 1)), 1.5, -1.5)[None]

    [coloured] = by_own_colours(off, BOX, has_box, colours, RULE)

    assert iou(off[0] > 0, held) < 0.65
    assert iou(coloured > 0, held) > 0.85


def test_outside_of_its_box_nothing_is_the_objects(disc: tuple[Tensor, Palette]) -> None:
    _, colours = disc
    everything = torch.full((1, *SIZE), 2.0)

    boxed, clicked = (by_own_colours(everything, BOX, given, colours, RULE)[0] for given in (WITH, WITHOUT))

    assert (boxed[disc[0]] > boxed[4:20, 4:28].min()).all()  # the blue is outside as well, so it is held for less
    assert (clicked > 0).all()


def test_logits_end_at_their_bound(disc: tuple[Tensor, Palette]) -> None:
    masks = torch.where(disc[0], 90.0, -90.0)[None]

    assert by_own_colours(masks, BOX, WITH, disc[1], RULE).abs().max() <= RULE.bound + 1e-5


def test_a_masks_colours_do_not_depend_on_its_company(disc: tuple[Tensor, Palette]) -> None:
    masks = torch.randn(MAX_MASKS + 3, *SIZE, generator=torch.Generator().manual_seed(9))
    boxes = BOX.expand(len(masks), 4)
    given = torch.arange(len(masks)) % 2 == 0

    together = by_own_colours(masks, boxes, given, disc[1], RULE)

    for index in (0, 1, MAX_MASKS - 1, MAX_MASKS, len(masks) - 1):
        part = slice(index, index + 1)
        assert torch.equal(together[part], by_own_colours(masks[part], boxes[part], given[part], disc[1], RULE))


@pytest.mark.parametrize(
    ("prompt", "coloured"),
    [
        (Prompt((Point(250, 200),)), True),
        (Prompt((Point(250, 200), Point(20, 20, False))), True),
        (Prompt(box=(150, 100, 400, 300)), True),
        (Prompt(box=(150, 100, 400, 300), rough=True), False),
        (Prompt((Point(500, 380),), (150, 100, 400, 300)), False),
    ],
    ids=["click", "points", "box", "rough box", "point outside"],
)
def test_the_models_masks_know_their_colours_but_those_of_rough_boxes(
    tiny: TinySegmenter,
    photographs: dict[str, NDArray[np.uint8]],
    prompt: Prompt,
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny.plan(photographs["coffee"])
    features = tiny.assemble(plan, tiny.encode_tiles(plan.tiles))
    [as_served] = tiny.prompt(features, [prompt])
    monkeypatch.setattr(mask_rules, "MAX_LOG_RATIO", 0.0)

    [without] = tiny.prompt(features, [prompt])

    assert torch.equal(as_served.masks, without.masks) != coloured
    assert sorted(as_served.quality.tolist()) == sorted(without.quality.tolist())
    assert isinstance(as_served, PromptMasks)


def iou(mask: Tensor, truth: Tensor) -> float:
    return ((mask & truth).sum() / (mask | truth).sum()).item()


EXACT = BoxRule(more=0, small=0, slack=0)
INPUT = (64, 96)  # pixels of the input
BOXED = (18, 10, 50, 40)
SURE = torch.ones(1)  # of a mask's quality


def outer(masks: torch.Tensor, size: tuple[int, int] = INPUT) -> tuple[int, int, int, int]:
    """x, y, width, height at `size`."""
    return encode_spans(cut(masks[0].numpy(), size), size).bbox


def test_a_mask_that_goes_on_ends_at_the_edges_of_its_box() -> None:
    everywhere = torch.full((1, INPUT[0] // 4, INPUT[1] // 4), 9.0)

    assert outer(kept_inside(everywhere, SURE, torch.tensor(BOXED), EXACT)) == (18, 10, 32, 30)


def test_slack_is_a_share_of_a_side() -> None:
    everywhere = torch.full((1, INPUT[0] // 4, INPUT[1] // 4), 9.0)

    x, y, width, height = outer(kept_inside(everywhere, SURE, torch.tensor(BOXED), BoxRule(more=0, slack=0.125)))

    assert (x, width) == (14, 40)
    assert abs(height - 37.5) <= 1
    assert abs(y - 6.25) <= 1


def test_the_less_is_expected_of_a_mask_the_more_cells_it_takes() -> None:
    nearly = torch.full((2, INPUT[0] // 4, INPUT[1] // 4), -0.5)

    rule = EXACT.model_copy(update={"doubt": 1})
    good, poor = kept_inside(nearly, torch.tensor([0.9, 0.5]), torch.tensor(BOXED), rule)

    assert (good < 0).all()  # -0.5 lies below the logarithm of 0.9,
    assert (poor > 0).any()  # and above that of 0.5


def test_a_quality_of_nothing_has_a_logarithm() -> None:
    nowhere = torch.full((1, INPUT[0] // 4, INPUT[1] // 4), -50.0)

    assert kept_inside(nowhere, torch.zeros(1), torch.tensor(BOXED), BoxRule(doubt=2)).isfinite().all()


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
