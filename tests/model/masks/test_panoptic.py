"""Merging against the plain way: interpolate every mask, then the steps of Mask2Former one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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


def test_areas_count_the_pixels_that_each_owns() -> None:
    masks, shares = blobs(5, (10, 12))

    merged = merge(masks, shares, (61, 47), 0.4)

    assert merged.areas.tolist() == [(merged.labels == index).sum() for index in range(5)]


def squares(*boxes: tuple[int, int]) -> Tensor:
    """Masks [N, 1, 10], each from one column to before another."""
    masks = torch.full((len(boxes), 1, 10), -10.0)
    for mask, (first, last) in zip(masks, boxes, strict=True):
        mask[:, first:last] = 10
    return masks


def row(labels: NDArray[np.unsignedinteger]) -> str:
    return "".join(map(str, labels[0].tolist()))


def test_the_surer_of_two_owns_what_they_share() -> None:
    merged = merge(squares((0, 6), (4, 10)), torch.tensor([0.6, 0.9]), (1, 10), 0.0)

    assert row(merged.labels) == "0000111111"


def test_a_mask_that_wins_too_little_of_itself_owns_nothing() -> None:
    # It wins 2 of its 6 pixels.
    masks, shares = squares((0, 6), (2, 10)), torch.tensor([0.6, 0.9])

    assert row(merge(masks, shares, (1, 10), 0.3).labels) == "0011111111"
    assert row(merge(masks, shares, (1, 10), 0.4).labels) == "2211111111"


def test_what_no_mask_covers_belongs_to_nobody() -> None:
    assert row(merge(squares((0, 3)), torch.tensor([0.9]), (1, 10), 0.5).labels) == "0001111111"


def test_a_mask_without_pixels_owns_nothing() -> None:
    assert row(merge(squares((0, 0), (0, 3)), torch.tensor([0.9, 0.9]), (1, 10), 0.0).labels) == "1112222222"


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
