"""Pseudo-masks: clusters of the patch tokens of a self-supervised tower, by k-means.

They are computed during training on the augmented images. The paper says DINO ViT-S/8, k-means, K = 8. It does not say
which tokens, which distance, how many iterations or which mask resolution: see `PseudoMaskSettings`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.dino import dino_from_file, dino_from_hub
from lexiseg_model.errors import OptionError, ShapeError
from lexiseg_model.methods.s_seg.training.recipe import PseudoMaskSettings as PseudoMaskSettings


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


class PseudoMasks(NamedTuple):
    """K disjoint masks of each image that together cover it."""

    masks: Tensor  # float32 [B, K, h, w], 0 or 1
    present: Tensor  # bool [B, K]: the mask is not empty


class PseudoMaskMaker(nn.Module):
    """The frozen tower and the clustering of what it gives."""

    def __init__(self, tower: nn.Module, settings: PseudoMaskSettings) -> None:
        """`tower`: normalised images [B, 3, H, W] to maps [B, C, h, w], as `DinoTower` does."""
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.settings = settings

    def train(self, mode: bool = True) -> PseudoMaskMaker:
        """The tower stays as it is, whatever becomes of the model around it."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> PseudoMasks:
        """Masks [B, K, h, w] of images [B, 3, H, W] of ImageNet's statistics; sides are multiples of the tower's patch.

        An image's masks do not depend on the others of its batch, beyond how the tower's sums are rounded.
        """
        maps = self.tower(images)
        return divide(maps, self.settings)


def mask_maker(settings: PseudoMaskSettings, weights: Path | None = None) -> PseudoMaskMaker:
    """The settings' tower with weights of a file, or of timm's hub where none is named.

    Raises:
        WeightsError: they cannot be had, or are of another tower.
    """
    tower = dino_from_hub(settings.tower) if weights is None else dino_from_file(settings.tower, weights)
    return PseudoMaskMaker(tower, settings)


def divide(maps: Tensor, settings: PseudoMaskSettings) -> PseudoMasks:
    """Masks of what is alike in maps [B, C, h, w] of tokens: [B, K, h * repeat, w * repeat]."""
    tokens = maps.flatten(2).transpose(1, 2).float()  # [B, h*w, C]
    if settings.unit_length:
        tokens = F.normalize(tokens, dim=2)
    labels = k_means(tokens, settings.k, settings.iterations, settings.seed).view(len(maps), *maps.shape[-2:])
    masks = F.one_hot(labels, settings.k).permute(0, 3, 1, 2).float()  # [B, h, w] -> [B, K, h, w]
    present = masks.flatten(2).any(2)
    if settings.repeat > 1:
        masks = F.interpolate(masks, scale_factor=settings.repeat, mode="nearest")
    return PseudoMasks(masks, present)
