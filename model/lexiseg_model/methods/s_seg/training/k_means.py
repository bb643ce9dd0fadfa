"""K-means of many small sets at once, on any device: the same labels for the same set, whatever its company.

The sets of a batch are clustered side by side, by products of matrices alone; sums in an undefined order, which
scattering has on GPUs, do not occur. Chance is drawn once on the CPU and used for every set.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.errors import OptionError, ShapeError


@torch.no_grad()
def k_means(points: Tensor, k: int, iterations: int, seed: int) -> Tensor:
    """Clusters each set of points: k-means++ to begin, then Lloyd's steps.

    A cluster that loses all its points is begun anew at the point farthest from its own centre; several such clusters
    take the next ones. Only a set with fewer than k different points keeps empty clusters.

    Args:
        points: [B, P, C].
        k: clusters of a set.
        iterations: of assigning and averaging, at least 1.
        seed: of the first centres.

    Returns:
        int64 [B, P] in 0..k-1.

    Raises:
        ShapeError: points is not three-dimensional, or a set has fewer than k points.
        OptionError: k or iterations below 1.
    """
    if points.ndim != 3 or points.shape[1] < k:
        raise ShapeError(f"expected points [B, P, C] with P at least {k}, got {list(points.shape)}")
    if k < 1 or iterations < 1:
        raise OptionError(f"expected at least 1 cluster and 1 iteration, got {k} and {iterations}")
    with torch.autocast(points.device.type, enabled=False):
        points = points.float()
        centres = _spread(points, k, seed)
        for _ in range(iterations):
            centres = moved(points, centres)
        return squared_distances(points, centres).argmin(2)


def moved(points: Tensor, centres: Tensor) -> Tensor:
    """One of Lloyd's steps: centres [B, k, C] to the means of the points [B, P, C] nearest to them.

    A centre that no point is nearest to goes to a point far from all centres.
    """
    nearest, labels = squared_distances(points, centres).min(2)  # [B, P]
    members = F.one_hot(labels, centres.shape[1]).float()
    counts = members.sum(1)  # [B, k]
    means = members.mT @ points / counts.clamp(min=1)[..., None]
    return torch.where(counts[..., None] > 0, means, _farthest(points, nearest, counts))


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """[B, P, C] and [B, k, C] -> [B, P, k], not negative."""
    lengths = points.square().sum(2)[:, :, None] + centres.square().sum(2)[:, None, :]
    return (lengths - 2 * points @ centres.mT).clamp(min=0)


def _spread(points: Tensor, k: int, seed: int) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii, 2007): a centre is drawn by its squared distance from those before it.

    The draw takes the largest of log weight plus Gumbel noise, which is a draw by weight and needs no running sums.
    """
    n_points = points.shape[1]
    uniform = torch.rand(k, n_points, generator=torch.Generator().manual_seed(seed))
    tiny = torch.finfo(torch.float32).tiny
    waiting = -torch.log(uniform.clamp(min=tiny))  # exponentially distributed
    noise = -torch.log(waiting.clamp(min=tiny)).to(points.device)
    every = torch.arange(len(points), device=points.device)
    chosen = points[:, noise[0].argmax()]  # [B, C]
    centres = [chosen]
    gap = squared_distances(points, chosen[:, None])[..., 0]  # [B, P] to the nearest centre
    for index in range(1, k):
        chosen = points[every, (gap.log() + noise[index]).argmax(1)]
        centres.append(chosen)
        gap = torch.minimum(gap, squared_distances(points, chosen[:, None])[..., 0])
    return torch.stack(centres, 1)


def _farthest(points: Tensor, nearest: Tensor, counts: Tensor) -> Tensor:
    """For every cluster, were it empty, the point to begin anew from: [B, k, C]."""
    k = counts.shape[1]
    farthest = nearest.topk(k, dim=1).indices  # [B, k], the farthest first
    order = ((counts == 0).cumsum(1) - 1).clamp(min=0)  # an empty cluster's place among the empty ones
    return points.gather(1, farthest.gather(1, order)[..., None].expand(-1, -1, points.shape[2]))
