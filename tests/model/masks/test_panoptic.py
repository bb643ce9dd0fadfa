"""Merging against the plain way: interpolate every mask, then the steps of Mask2Former one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.masks.panoptic import merge

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


def squares(*boxes: tuple[int, int]) -> Tensor:
    """Masks [N, 1, 10], each from one column to before another."""
    masks = torch.full((len(boxes), 1, 10), -10.0)
    for mask, (first, last) in zip(masks, boxes, strict=True):
        mask[:, first:last] = 10
    return masks


def test_without_masks_everything_belongs_to_nobody() -> None:
    merged = merge(torch.zeros(0, 3, 4), torch.zeros(0), (6, 8), 0.5, keep_probability=True)

    assert not merged.labels.any()
    assert len(merged.areas) == 0
    assert merged.probability is not None
    assert (merged.probability == 1).all()


def test_probability_is_the_owner_s_and_what_is_left_for_nobody() -> None:
    merged = merge(squares((0, 3)), torch.tensor([0.9]), (1, 10), 0.5, keep_probability=True)

    assert merged.probability is not None
    np.testing.assert_allclose(merged.probability[0], [0.9] * 3 + [1.0] * 7, atol=1e-4)
