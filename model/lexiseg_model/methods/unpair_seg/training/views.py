"""CLIP's embeddings of the same regions at several image sizes; stage two's matching averages them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.trunk import STRIDE, ClipTrunk
from lexiseg_model.methods.unpair_seg.training.recipe import SIZES as SIZES


@torch.no_grad()
def at_sizes(trunk: ClipTrunk, images: Tensor, masks: Tensor, sizes: Sequence[int] = SIZES) -> list[Tensor]:
    """Embeddings of regions by frozen CLIP, one set for each size.

    Args:
        trunk: CLIP's image tower.
        images: normalised, [B, 3, H, W].
        masks: logits [B, Q, h, w] over the whole images.
        sizes: pixels of the longer side; the shorter keeps its proportion. Both become multiples of 32.

    Returns:
        For each size [B, Q, D], not normalised.
    """
    return [trunk.embed(regions.pool(trunk(_resized(images, size)).dense, masks)) for size in sizes]


def _resized(images: Tensor, longer: int) -> Tensor:
    sides = (images.shape[2], images.shape[3])
    height, width = (max(STRIDE, round(side * longer / max(sides) / STRIDE) * STRIDE) for side in sides)
    if (height, width) == sides:
        return images
    return F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
