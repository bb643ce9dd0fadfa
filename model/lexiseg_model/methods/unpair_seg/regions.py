"""Regions: mask cleaning, features pooled under a mask, and their logits for every class."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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


# The demo of the released code: Segment Anything's score around 0.5, taken of logits; and specks of its own.
STABLE = 0.92
MIDDLE, AROUND = 0.5, 0.1
SMALLEST = 15  # pixels
PIXELS_OF_A_CELL = 16  # of a mask, in the network's input


def stability(masks: Tensor, middle: float = MIDDLE, around: float = AROUND) -> Tensor:
    """How little a mask's area depends on the threshold: pixels above the higher one over those above the lower.

    Args:
        masks: logits [N, H, W].
        middle, around: the two thresholds are `middle` plus and minus `around`.

    Returns:
        [N] in 0..1; 0 for masks that are empty at the lower threshold.
    """
    inner = (masks > middle + around).flatten(1).sum(1)
    outer = (masks > middle - around).flatten(1).sum(1)
    return inner / outer.clamp(min=1).to(torch.float32)


def without_specks(mask: NDArray[np.bool_], smallest: int = SMALLEST) -> NDArray[np.bool_]:
    """Fills holes of fewer pixels than `smallest`, then drops parts of fewer; parts hang together by corners too.

    If every part is small, the largest stays. [H, W] bool -> same.
    """
    filled = mask | _small_parts(~mask, smallest)
    n_parts, parts, areas = _parts(filled)
    if not n_parts:
        return filled
    kept = areas >= smallest
    kept[areas.argmax()] = True
    cleaned: NDArray[np.bool_] = np.concatenate([[False], kept])[parts]
    return cleaned


def tidied(masks: Tensor, specks: int) -> Tensor:
    """Logits without holes and parts smaller than so many pixels of the network's input: [N, H/4, W/4] -> same.

    What changes sides keeps its distance from 0.
    """
    smallest = specks // PIXELS_OF_A_CELL
    if smallest < 2:  # no part is smaller than a cell
        return masks
    inside = masks > 0
    clean = [torch.from_numpy(without_specks(each, smallest)) for each in inside.cpu().numpy()]
    if not clean:
        return masks
    changed = torch.stack(clean).to(masks.device) != inside
    return torch.where(changed, -masks, masks)


def _small_parts(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    _, parts, areas = _parts(mask)
    small: NDArray[np.bool_] = np.concatenate([[False], areas < smallest])[parts]
    return small


def _parts(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """How many parts, [H, W] which (from 1, 0 outside), and the pixels of each."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count - 1, parts.astype(np.int32), stats[1:, cv2.CC_STAT_AREA].astype(np.int32)
