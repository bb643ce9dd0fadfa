"""Masks that nobody drew: what a self-supervised tower finds alike in an image, by clustering its patch tokens.

They are made while training goes on, on the images as augmented. The paper says DINO ViT-S/8, k-means, K = 8. It
does not say which tokens, how they are compared, how often the means are moved, or the masks' resolution: see
`PseudoMaskSettings`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.dino import dino_from_file, dino_from_hub
from lexiseg_model.methods.s_seg.training.k_means import k_means
from lexiseg_model.methods.s_seg.training.settings import PseudoMaskSettings as PseudoMaskSettings


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
