"""Masks learn their object's colours, by pictures that the test paints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny import own_colours
from lexiseg_model.methods.tiny.own_colours import (
    AT_ONCE,
    BINS,
    FLOOR,
    MOST,
    Palette,
    by_own_colours,
    log_ratio,
    outer_boxes,
    palette,
)
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import OwnColours
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


def plainly(held: Tensor, left: Tensor, bins: Tensor) -> NDArray[np.float64]:
    """`log_ratio` of one mask, count by count."""
    shares = []
    for counts in (held, left):
        histogram = np.zeros((BINS,) * 3)
        for place, count in zip(bins.tolist(), counts.flatten().tolist(), strict=True):
            histogram[np.unravel_index(place, histogram.shape)] += count
        for axis in range(3):
            lower = np.take(histogram, [0, *range(BINS - 1)], axis)
            upper = np.take(histogram, [*range(1, BINS), BINS - 1], axis)
            histogram = 0.25 * lower + 0.5 * histogram + 0.25 * upper
        shares.append(histogram.reshape(-1) / max(1, counts.sum().item()) + FLOOR)
    ratio: NDArray[np.float64] = np.log(shares[0] / shares[1]).clip(-MOST, MOST)[bins.numpy()].reshape(held.shape)
    return ratio


def test_ratios_are_those_of_histograms_counted_one_by_one(disc: tuple[Tensor, Palette]) -> None:
    _, colours = disc
    held = torch.randint(0, 257, (3, *SIZE), generator=torch.Generator().manual_seed(5))
    held[:, :, 20:] //= 16
    held[2] = 0

    ratio = log_ratio(held, 256 - held, colours.bins)

    for of_mask, counts in zip(ratio, held, strict=True):
        np.testing.assert_allclose(of_mask.numpy(), plainly(counts, 256 - counts, colours.bins), atol=2e-5)


def test_bins_tell_colours_apart_and_stay_inside(disc: tuple[Tensor, Palette]) -> None:
    held, colours = disc

    assert set(colours.bins[held.flatten()].tolist()).isdisjoint(colours.bins[~held.flatten()].tolist())
    assert colours.bins.min() >= 0
    assert colours.bins.max() < BINS**3


def test_a_picture_of_one_colour_says_nothing(disc: tuple[Tensor, Palette]) -> None:
    grey = palette(torch.zeros(3, 2 * SIZE[0], 2 * SIZE[1]), SIZE)
    masks = torch.where(disc[0], 2.0, -2.0)[None]

    coloured = by_own_colours(masks, BOX, WITH, grey, RULE.model_copy(update={"weight": 0.0}))

    assert (log_ratio(masks.int().clamp_min(0), 2 - masks.int().clamp_min(0), grey.bins).abs() < 0.01).all()
    assert (coloured[0] > 0)[disc[0]].float().mean() > 0.9


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


def test_a_mask_without_cells_stays_without(disc: tuple[Tensor, Palette]) -> None:
    assert (by_own_colours(torch.full((1, *SIZE), -6.0), BOX, WITHOUT, disc[1], RULE) < 0).all()


def test_logits_end_at_their_bound(disc: tuple[Tensor, Palette]) -> None:
    masks = torch.where(disc[0], 90.0, -90.0)[None]

    assert by_own_colours(masks, BOX, WITH, disc[1], RULE).abs().max() <= RULE.bound + 1e-5


def test_a_masks_colours_do_not_depend_on_its_company(disc: tuple[Tensor, Palette]) -> None:
    masks = torch.randn(AT_ONCE + 3, *SIZE, generator=torch.Generator().manual_seed(9))
    boxes = BOX.expand(len(masks), 4)
    given = torch.arange(len(masks)) % 2 == 0

    together = by_own_colours(masks, boxes, given, disc[1], RULE)

    for index in (0, 1, AT_ONCE - 1, AT_ONCE, len(masks) - 1):
        part = slice(index, index + 1)
        assert torch.equal(together[part], by_own_colours(masks[part], boxes[part], given[part], disc[1], RULE))


def test_outer_boxes_are_around_what_is_held() -> None:
    masks = torch.full((2, *SIZE), -1.0)
    masks[0, 3:7, 10:20] = 1.0

    assert outer_boxes(masks).tolist() == [[40, 12, 80, 28], [0, 0, 128, 96]]


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
    monkeypatch.setattr(own_colours, "MOST", 0.0)

    [without] = tiny.prompt(features, [prompt])

    assert torch.equal(as_served.masks, without.masks) != coloured
    assert sorted(as_served.quality.tolist()) == sorted(without.quality.tolist())
    assert isinstance(as_served, PromptMasks)


def iou(mask: Tensor, truth: Tensor) -> float:
    return ((mask & truth).sum() / (mask | truth).sum()).item()
