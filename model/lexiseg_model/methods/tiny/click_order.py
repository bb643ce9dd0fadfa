"""Order the masks of a single click by predicted quality, stability, contour contrast and area.

The head estimates a mask's quality from the features under it, with errors of 0.1 and more. Three cues separate masks
of equal estimate: good masks hardly change their area with the threshold, their contour follows colour edges, and the
smaller one is more likely meant. Figures: docs/tiny-ablation.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.settings import ClickOrder

AROUND = 1.0  # threshold offset of SAM's stability score, in logits
EVERY = 2  # areas count every second cell of every second row: a quarter of the time, the same quality
MIN_SHARE = 1e-4  # of the image, added before the logarithm


class Contrast(NamedTuple):
    """Colour distance between neighbouring cells: `across` [h, w - 1] and `down` [h - 1, w]."""

    across: Tensor
    down: Tensor


def contrast(guide: Tensor, size: tuple[int, int]) -> Contrast:
    """The contrast of normalised colours [3, H, W] at the (h, w) cells of masks."""
    return contrast_of_cells(F.interpolate(guide[None].float(), size=size, mode="area")[0])


def contrast_of_cells(cells: Tensor) -> Contrast:
    """The contrast of normalised colours [3, h, w]."""
    across, down = cells[:, :, 1:] - cells[:, :, :-1], cells[:, 1:] - cells[:, :-1]
    return Contrast(*((difference * difference).sum(0).sqrt() for difference in (across, down)))


def evidence(masks: Tensor, contrast: Contrast) -> Tensor:
    """Cues for the quality of masks.

    Args:
        masks: logits [N, M, h, w].
        contrast: of the image.

    Returns:
        [N, M, 3] float32: stability score, logarithm of the share of the image, mean contrast along the contour.
    """
    sampled = masks[..., ::EVERY, ::EVERY]
    area, inner, outer = ((sampled > threshold).float().sum((2, 3)) for threshold in (0.0, AROUND, -AROUND))
    inside = masks > 0
    across, down = inside[..., 1:] ^ inside[..., :-1], inside[..., 1:, :] ^ inside[..., :-1, :]
    edges = (across * contrast.across).sum((2, 3)) + (down * contrast.down).sum((2, 3))
    sides = across.float().sum((2, 3)) + down.float().sum((2, 3))
    cells = math.prod(sampled.shape[2:])
    size = (area / cells + MIN_SHARE).log()
    return torch.stack([inner / outer.clamp_min(1e-6 * cells), size, edges / (sides + 1)], 2)


def best_first(masks: Tensor, quality: Tensor, contrast: Contrast, rule: ClickOrder) -> Tensor:
    """Indices [N, M] of masks, best first, from logits [N, M, h, w] and quality [N, M] in 0..1."""
    return worth(masks, quality, contrast, rule).argsort(dim=1, descending=True, stable=True)


def worth(masks: Tensor, quality: Tensor, contrast: Contrast, rule: ClickOrder) -> Tensor:
    """What masks are ordered by [N, M], from logits [N, M, h, w] and quality [N, M] in 0..1."""
    weights = torch.tensor((rule.stability, rule.area, rule.edges), device=masks.device)
    return quality.float() + evidence(masks, contrast) @ weights
