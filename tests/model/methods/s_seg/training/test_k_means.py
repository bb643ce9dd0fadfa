"""K-means of many sets: what belongs together, chance that can be repeated, clusters that run empty."""

from __future__ import annotations

import torch
from torch import Tensor

from lexiseg_model.methods.s_seg.training.pseudo_masks import k_means


def heaps(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Five sets of 60 points in four heaps far apart, and the heap of each point."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(4, (5, 60), generator=generator)
    middles = 10 * torch.eye(4, 6)
    return middles[owner] + 0.3 * torch.randn(5, 60, 6, generator=generator), owner


def test_points_of_a_heap_share_a_label_and_heaps_do_not() -> None:
    points, owner = heaps()

    labels = k_means(points, 4, 10, seed=0)

    for found, wanted in zip(labels, owner, strict=True):
        assert len(set(zip(found.tolist(), wanted.tolist(), strict=True))) == 4


def test_a_set_has_the_same_labels_in_any_company() -> None:
    points, _ = heaps()
    together = k_means(points, 3, 10, seed=1)

    for index in range(len(points)):
        assert torch.equal(k_means(points[index : index + 1], 3, 10, seed=1)[0], together[index])
