"""What CLIP says of a region: its features averaged under a mask, then compared with every text of every class."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MASK_THRESHOLD

EPSILON = 1e-8  # of the area, for masks that are empty at the features' size
SURE = 10.0  # the logit of what is certain
LARGEST_SCALE = 100.0  # of the logits; CLIP's own bound

# From features [B, C, h, w] and mask logits [B, Q, H, W] to a vector for each mask, [B, Q, C].
Pool = Callable[[Tensor, Tensor], Tensor]


def pool(features: Tensor, masks: Tensor) -> Tensor:
    """Mean of the features under each mask.

    Args:
        features: [B, C, h, w].
        masks: logits [B, Q, H, W]; brought to the features' size and cut at probability 0.5.

    Returns:
        [B, Q, C]; zeros where nothing of a mask is left.
    """
    small = F.interpolate(masks, size=features.shape[-2:], mode="bilinear", align_corners=False)
    inside = (small.sigmoid() >= MASK_THRESHOLD).to(features)
    share = inside / (inside.sum((2, 3), keepdim=True) + EPSILON)
    return torch.einsum("bchw,bqhw->bqc", features, share)


def pool_legible(features: Tensor, masks: Tensor) -> Tensor:
    """As `pool`, but where nothing of a mask is left the cell counts that it covers most of."""
    grid = (features.shape[2], features.shape[3])
    return pool(features, legible(masks.flatten(0, 1), grid).reshape(masks.shape))


def legible(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Masks of which `pool` finds nothing on features of size `grid` become the cell that they cover most of.

    [Q, H, W] logits -> same. What CLIP sees of something small is the cell around it; of nothing it says nothing.
    """
    small = F.interpolate(masks[:, None], size=grid, mode="bilinear", align_corners=False)
    lost = (small.sigmoid() < MASK_THRESHOLD).flatten(1).all(1).nonzero()[:, 0]
    if not len(lost):
        return masks
    covered = F.adaptive_avg_pool2d(masks[lost, None].sigmoid(), grid).flatten(1)
    cell = torch.zeros_like(covered).scatter_(1, covered.argmax(1, keepdim=True), 1).view(-1, 1, *grid)
    block = F.interpolate(cell, size=masks.shape[1:], mode="nearest")[:, 0]
    return masks.index_copy(0, lost, (SURE * (2 * block - 1)).to(masks))


def class_logits(regions: Tensor, texts: Tensor, owner: Tensor, n_classes: int, scale: float | Tensor) -> Tensor:
    """Logits of every class, each by the best of its texts: synonyms and templates alike.

    Args:
        regions: [..., D], of any length.
        texts: [T, D] of unit length.
        owner: [T] int64, the class of each text; every class has one at least.
        n_classes: K.
        scale: CLIP's, of which no more than 100 is used.

    Returns:
        [..., K].
    """
    cosine = F.normalize(regions, dim=-1) @ texts.T
    index = owner.to(cosine.device).expand_as(cosine)
    best = cosine.new_full((*cosine.shape[:-1], n_classes), -torch.inf)
    best = best.scatter_reduce(-1, index, cosine, "amax")
    return best * torch.as_tensor(scale).clamp(max=LARGEST_SCALE)


def class_maps(probabilities: Tensor, masks: Tensor) -> Tensor:
    """How much each pixel is of each class, summed over regions: [Q, K] and mask logits [Q, h, w] -> [K, h, w]."""
    return torch.einsum("qk,qhw->khw", probabilities, masks.float().sigmoid())
