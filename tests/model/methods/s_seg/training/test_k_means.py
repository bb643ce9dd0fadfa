"""K-means of many sets: what belongs together, chance that can be repeated, clusters that run empty."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from lexiseg_model.errors import ShapeError
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


def spread(points: Tensor, labels: Tensor, k: int) -> float:
    """Sum of squared distances from the means of the clusters."""
    total = 0.0
    for label in range(k):
        own = points[labels == label]
        total += float((own - own.mean(0)).square().sum())
    return total


def test_clusters_are_about_as_tight_as_a_librarys_best_of_ten() -> None:
    points = torch.rand(1, 300, 4, generator=torch.Generator().manual_seed(5))
    best = KMeans(8, n_init=10, random_state=0).fit(points[0].numpy()).inertia_

    labels = k_means(points, 8, 30, seed=0)

    assert spread(points[0], labels[0], 8) < 1.1 * best


def test_no_cluster_stays_empty_while_there_are_points_for_all() -> None:
    points = torch.rand(300, 9, 2, generator=torch.Generator().manual_seed(7))

    labels = k_means(points, 6, 10, seed=0)

    assert all(len(own.unique()) == 6 for own in labels)


def test_fewer_points_than_clusters_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least 8"):
        k_means(torch.ones(1, 7, 3), 8, 10, seed=0)
    with pytest.raises(ShapeError, match="B, P, C"):
        k_means(torch.ones(10, 3), 8, 10, seed=0)
