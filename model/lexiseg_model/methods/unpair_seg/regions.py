"""Region features: pooling under masks, class maps of regions, and cleaning of masks."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MASK_THRESHOLD

EPSILON = 1e-8  # added to areas, for masks that are empty at the features' size
CERTAIN_LOGIT = 10.0  # logit of a certain pixel
LARGEST_SCALE = 100.0  # of the logits, as in CLIP

# Vectors [B, Q, C] of masks from features [B, C, h, w] and mask logits [B, Q, H, W].
Pool = Callable[[Tensor, Tensor], Tensor]
LOWER, HIGHER = 0.4, 0.6  # logits of the stability score in the released demo
PIXELS_OF_A_CELL = 16  # pixels of the network's input in a mask cell


def pool(features: Tensor, masks: Tensor) -> Tensor:
    """Mean [B, Q, C] of features [B, C, h, w] under masks, logits [B, Q, H, W]; zeros for masks that are empty
    there."""
    small = F.interpolate(masks, size=features.shape[-2:], mode="bilinear", align_corners=False)
    inside = (small.sigmoid() >= MASK_THRESHOLD).to(features)
    share = inside / (inside.sum((2, 3), keepdim=True) + EPSILON)
    return torch.einsum("bchw,bqhw->bqc", features, share)


def pool_legible(features: Tensor, masks: Tensor) -> Tensor:
    """Mean of the features under each mask as in `pool`; a mask that is empty there takes the cell it covers most."""
    grid, flat = (features.shape[2], features.shape[3]), masks.flatten(0, 1)
    small = F.interpolate(flat[:, None], size=grid, mode="bilinear", align_corners=False)
    empty = (small.sigmoid() < MASK_THRESHOLD).flatten(1).all(1).nonzero()[:, 0]
    if len(empty):
        covered = F.adaptive_avg_pool2d(flat[empty, None].sigmoid(), grid).flatten(1)
        cell = torch.zeros_like(covered).scatter_(1, covered.argmax(1, keepdim=True), 1).view(-1, 1, *grid)
        block = F.interpolate(cell, size=flat.shape[1:], mode="nearest")[:, 0]
        flat = flat.index_copy(0, empty, (CERTAIN_LOGIT * (2 * block - 1)).to(flat))
    return pool(features, flat.reshape(masks.shape))


def class_maps(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Class maps [K, h, w]: class probabilities [Q, K] times mask probabilities, of logits [Q, h, w], summed over Q."""
    return torch.einsum("qk,qhw->khw", probabilities, masks.float().sigmoid())


def stability(masks: Tensor) -> Tensor:
    """Stability [N] in 0..1 of logits [N, H, W]: area above the higher over that above the lower (Segment Anything)."""
    inner = (masks > HIGHER).flatten(1).sum(1)
    outer = (masks > LOWER).flatten(1).sum(1)
    return inner / outer.clamp(min=1).to(torch.float32)


def without_specks(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    """Fill holes of a mask bool [H, W] of fewer than `smallest` pixels, then remove such parts, but the largest."""
    _, holes, areas = _parts(~mask)
    filled: NDArray[np.bool_] = mask | np.concatenate([[False], areas < smallest])[holes]
    n_parts, parts, areas = _parts(filled)
    if not n_parts:
        return filled
    large = areas >= smallest
    large[areas.argmax()] = True
    cleaned: NDArray[np.bool_] = np.concatenate([[False], large])[parts]
    return cleaned


def tidied(masks: Tensor, specks: int) -> Tensor:
    """Mask logits without holes and parts of fewer than `specks` pixels of the input; changed cells are negated."""
    smallest = specks // PIXELS_OF_A_CELL
    if smallest < 2:  # every part has at least one cell
        return masks
    inside = masks > 0
    clean = [torch.from_numpy(without_specks(each, smallest)) for each in inside.cpu().numpy()]
    if not clean:
        return masks
    changed = torch.stack(clean).to(masks.device) != inside
    return torch.where(changed, -masks, masks)


def _parts(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """Connected parts of a mask: their number, their labels int32 [H, W] from 1 (0 outside), and their areas."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count - 1, parts.astype(np.int32), stats[1:, cv2.CC_STAT_AREA].astype(np.int32)
