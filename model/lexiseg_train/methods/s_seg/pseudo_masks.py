"""Pseudo-masks: k-means clusters of the patch tokens of a self-supervised tower, or of colours.

They are computed during training on the augmented images. The paper states DINO ViT-S/8, k-means and K = 8, but not
the tokens, the distance, the iterations and the mask resolution: see `PseudoMaskSettings`.

S-Seg measures them by the most frequent true class of each cluster's pixels (arXiv 2401.12217): DINO ViT-S/8 reaches an
mIoU of 78.8 on VOC, k-means of colours 49.5.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.dino import dino_from_file, dino_from_hub
from lexiseg_model.clip.images import normalise
from lexiseg_model.errors import ShapeError
from lexiseg_train.data.indexed import IGNORE, IndexedDataset
from lexiseg_train.evaluation.counts import count, scores
from lexiseg_train.methods.s_seg.trainings import PseudoMaskSettings

COLOUR_CELL = 8  # pixels of a cell's side, as a patch of the paper's tower


@torch.no_grad()
def k_means(points: Tensor, k: int, iterations: int, seed: int) -> Tensor:
    """Cluster each set of points [B, P, C] with k-means++ and Lloyd's iterations: int64 [B, P] in 0..k-1.

    Only sets with fewer than k distinct points keep empty clusters. Raises ShapeError: P is less than k."""
    if points.ndim != 3 or points.shape[1] < k:
        raise ShapeError(f"expected points [B, P, C] with P at least {k}, got {list(points.shape)}")
    with torch.autocast(points.device.type, enabled=False):
        points = points.float()
        centres = _spread(points, k, seed)
        for _ in range(iterations):
            centres = moved(points, centres)
        return squared_distances(points, centres).argmin(2)


def moved(points: Tensor, centres: Tensor) -> Tensor:
    """One iteration of Lloyd: centres [B, k, C] at the means of the nearest of points [B, P, C], empty ones far off."""
    nearest, labels = squared_distances(points, centres).min(2)  # [B, P]
    members = F.one_hot(labels, centres.shape[1]).float()
    counts = members.sum(1)  # [B, k]
    means = members.mT @ points / counts.clamp(min=1)[..., None]
    return torch.where(counts[..., None] > 0, means, _farthest(points, nearest, counts))


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances [B, P, k] of points [B, P, C] and centres [B, k, C], not negative."""
    lengths = points.square().sum(2)[:, :, None] + centres.square().sum(2)[:, None, :]
    return (lengths - 2 * points @ centres.mT).clamp(min=0)


def _spread(points: Tensor, k: int, seed: int) -> Tensor:
    """First centres by k-means++ (Arthur and Vassilvitskii, 2007), drawn by squared distances with Gumbel noise."""
    n_points = points.shape[1]
    uniform = torch.rand(k, n_points, generator=torch.Generator().manual_seed(seed))
    tiny = torch.finfo(torch.float32).tiny
    waiting = -torch.log(uniform.clamp(min=tiny))  # exponentially distributed
    noise = -torch.log(waiting.clamp(min=tiny)).to(points.device)
    every = torch.arange(len(points), device=points.device)
    centre = points[:, noise[0].argmax()]  # [B, C]
    centres = [centre]
    gap = squared_distances(points, centre[:, None])[..., 0]  # [B, P], to the nearest centre
    for index in range(1, k):
        centre = points[every, (gap.log() + noise[index]).argmax(1)]
        centres.append(centre)
        gap = torch.minimum(gap, squared_distances(points, centre[:, None])[..., 0])
    return torch.stack(centres, 1)


def _farthest(points: Tensor, nearest: Tensor, counts: Tensor) -> Tensor:
    """Point [B, k, C] at which each cluster would restart if it is empty."""
    k = counts.shape[1]
    farthest = nearest.topk(k, dim=1).indices  # [B, k], the farthest first
    order = ((counts == 0).cumsum(1) - 1).clamp(min=0)  # rank of an empty cluster among the empty ones
    return points.gather(1, farthest.gather(1, order)[..., None].expand(-1, -1, points.shape[2]))


class PseudoMasks(NamedTuple):
    """K disjoint masks of each image, which together cover it."""

    masks: Tensor  # float32 [B, K, h, w], 0 or 1
    present: Tensor  # bool [B, K]: the mask is not empty


class PseudoMaskMaker(nn.Module):
    """Frozen tower and the clustering of its maps."""

    def __init__(self, tower: nn.Module, settings: PseudoMaskSettings) -> None:
        """Freeze a tower that maps normalised images [B, 3, H, W] to [B, C, h, w], such as `DinoTower`."""
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.settings = settings

    @torch.no_grad()
    def forward(self, images: Tensor) -> PseudoMasks:
        """Masks [B, K, h, w] of images [B, 3, H, W] with ImageNet's statistics and multiples of the patch as sides."""
        return divide(self.tower(images), self.settings)


def colour_maker(settings: PseudoMaskSettings, cell: int = COLOUR_CELL) -> PseudoMaskMaker:
    """Maker of masks by k-means of RGB on cells of `cell` pixels; lengths are kept, as they carry brightness."""
    return PseudoMaskMaker(nn.AvgPool2d(cell), settings.model_copy(update={"unit_length": False}))


def mask_maker(settings: PseudoMaskSettings, weights: Path | None = None) -> PseudoMaskMaker:
    """Maker with the settings' tower and weights from a file, or from timm's hub without one; colours need neither."""
    if settings.tower == "colours":
        return colour_maker(settings)
    tower = dino_from_hub(settings.tower) if weights is None else dino_from_file(settings.tower, weights)
    return PseudoMaskMaker(tower, settings)


def divide(maps: Tensor, settings: PseudoMaskSettings) -> PseudoMasks:
    """Cluster the tokens of maps [B, C, h, w] into masks [B, K, h * repeat, w * repeat]."""
    tokens = maps.flatten(2).transpose(1, 2).float()  # [B, h*w, C]
    if settings.unit_length:
        tokens = F.normalize(tokens, dim=2)
    labels = k_means(tokens, settings.k, settings.iterations, settings.seed).view(len(maps), *maps.shape[-2:])
    masks = F.one_hot(labels, settings.k).permute(0, 3, 1, 2).float()  # [B, h, w] -> [B, K, h, w]
    present = masks.flatten(2).any(2)
    if settings.repeat > 1:
        masks = F.interpolate(masks, scale_factor=settings.repeat, mode="nearest")
    return PseudoMasks(masks, present)


def oracle_miou(maker: PseudoMaskMaker, data: IndexedDataset, side: int, advance: Callable[[], object]) -> float:
    """Oracle mIoU in percent over all classes; photographs are resized to `side`, a multiple of the tower's patch."""
    counts = np.zeros((3, len(data.classes)), np.int64)
    for sample in data.samples:
        truth = sample.read_mask()
        square = cv2.resize(sample.read_image(), (side, side), interpolation=cv2.INTER_AREA)
        image = normalise(torch.from_numpy(square).permute(2, 0, 1)[None], "imagenet")
        labels = maker(image).masks[0].argmax(0).numpy().astype(np.uint8)
        clusters = cv2.resize(labels, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        named = np.zeros_like(truth)
        for cluster in np.unique(clusters):
            inside = truth[(clusters == cluster) & (truth != IGNORE)]
            named[clusters == cluster] = np.bincount(inside, minlength=1).argmax()
        counts += count(truth, named, len(data.classes))
        advance()
    return float(scores(counts).miou)
