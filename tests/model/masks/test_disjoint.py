"""Masks that overlap: layers, panoptic merging, suppression."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.masks.nms import BLOCK, OverlapRule, suppress
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.tasks.cut_outs import are_overlapping, painted
from lexiseg_model.tasks.proposals import merge
from lexiseg_model.types import Rle


def masks(*rows: str) -> list[Rle]:
    """One mask [1, W] for each row, of its crosses."""
    return [encode_mask(np.array([[letter == "x" for letter in row]])) for row in rows]


def shown(masks: Sequence[Rle], *indices: int) -> list[int]:
    labels: list[int] = painted([(index + 1, masks[index]) for index in indices], masks[0].size)[0].tolist()
    return labels


def test_the_earlier_lies_on_top_and_what_is_not_shown_leaves_its_number_free() -> None:
    assert shown(masks("xxx..", ".xxx."), 0, 1) == [1, 1, 1, 2, 0]
    assert shown(masks("xxx..", "xxxxx", "..xxx"), 0, 2) == [1, 1, 1, 3, 3]


def test_masks_that_share_a_pixel_overlap_and_those_side_by_side_do_not() -> None:
    assert are_overlapping(masks("xx...", ".xx.."), (1, 5))
    assert not are_overlapping(masks("xx...", "..xxx", "....."), (1, 5))


TIE = 1e-5  # two ways to interpolate differ by rounding; pixels closer to a tie may go either way
CASES = [
    (1, (4, 4), (9, 9)),
    (2, (1, 1), (5, 3)),
    (5, (10, 12), (61, 47)),
    (30, (20, 20), (77, 90)),
    (8, (30, 30), (20, 17)),  # a smaller image than the masks
    (300, (12, 12), (24, 24)),
]


def blobs(n: int, cells: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Smooth masks and a share for each."""
    generator = torch.Generator().manual_seed(n)
    coarse = torch.randn(n, 1, 4, 4, generator=generator) * 6
    masks = F.interpolate(coarse, size=cells, mode="bicubic")[:, 0] - 2
    return masks, torch.rand(n, generator=generator) * 0.8 + 0.2


def plain(masks: Tensor, shares: Tensor, size: tuple[int, int], overlap: float) -> tuple[Tensor, Tensor]:
    """Labels [H, W], and how far every pixel is from any other answer."""
    inside = F.interpolate(masks[None].double(), size=size, mode="bilinear", align_corners=False)[0].sigmoid()
    worth = inside * shares.double()[:, None, None]
    winner = worth.argmax(0)
    labels = torch.full(size, len(masks))
    for index, mask in enumerate(inside):
        won, covered = winner == index, mask >= 0.5
        if covered.any() and won.sum() / covered.sum() >= overlap:
            labels[won & covered] = index
    first = worth.sort(0, descending=True).values
    margin = first[0] - first[1] if len(masks) > 1 else torch.ones(size)
    return labels, torch.minimum(margin, (inside.gather(0, winner[None])[0] - 0.5).abs())


@pytest.mark.parametrize("overlap", [0.0, 0.4, 0.8])
@pytest.mark.parametrize(("n", "cells", "size"), CASES)
def test_it_is_the_plain_merging(n: int, cells: tuple[int, int], size: tuple[int, int], overlap: float) -> None:
    masks, shares = blobs(n, cells)

    merged = merge(masks, shares, size, overlap)

    expected, margin = plain(masks, shares, size, overlap)
    clear = margin.numpy() > TIE
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(merged.labels[clear], expected.numpy()[clear])


def test_without_masks_everything_belongs_to_nobody() -> None:
    merged = merge(torch.zeros(0, 3, 4), torch.zeros(0), (6, 8), 0.5, keep_probability=True)

    assert not merged.labels.any()
    assert len(merged.areas) == 0
    assert merged.probability is not None
    assert (merged.probability == 1).all()


def test_probability_is_the_owner_s_and_what_is_left_for_nobody() -> None:
    masks = torch.where(torch.arange(10) < 3, 10.0, -10.0).expand(1, 1, 10)

    merged = merge(masks, torch.tensor([0.9]), (1, 10), 0.5, keep_probability=True)

    assert merged.probability is not None
    np.testing.assert_allclose(merged.probability[0], [0.9] * 3 + [1.0] * 7, atol=1e-4)


def boxes(count: int, largest: int, seed: int = 0) -> Tensor:
    """Random rectangles [count, 40, 48]."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, 40, 48, dtype=torch.bool)
    for mask in masks:
        top, left, height, width = (
            int(torch.randint(1, n, (), generator=generator)) for n in (40, 48, largest, largest)
        )
        mask[top : top + height, left : left + width] = True
    return masks


def one_by_one(masks: Tensor, scores: Tensor, rule: OverlapRule) -> list[int]:
    kept: list[int] = []
    for j in sorted(range(len(masks)), key=lambda index: -float(scores[index])):
        for i in kept:
            shared, either = int((masks[i] & masks[j]).sum()), int((masks[i] | masks[j]).sum())
            inside = rule.inside is not None and shared / max(int(masks[j].sum()), 1e-6) >= rule.inside
            if shared / max(either, 1e-6) >= rule.overlap or inside:
                break
        else:
            kept.append(j)
    return kept


@pytest.mark.parametrize("rule", [OverlapRule(overlap=0.511, inside=0.713), OverlapRule(overlap=0.313, inside=None)])
@pytest.mark.parametrize("largest", [5, 30])
def test_masks_go_as_one_by_one_over_several_blocks(rule: OverlapRule, largest: int) -> None:
    masks = boxes(2 * BLOCK + 50, largest)
    scores = torch.rand(len(masks), generator=torch.Generator().manual_seed(1))

    found = suppress(masks, scores, rule)

    assert found.tolist() == one_by_one(masks, scores, rule)
    assert 1 < len(found) < len(masks)


def test_no_masks_leave_none_and_empty_masks_suppress_nobody() -> None:
    assert suppress(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0)).tolist() == []
    assert suppress(torch.zeros(2, 4, 4, dtype=torch.bool), torch.tensor([0.1, 0.2])).tolist() == [1, 0]
