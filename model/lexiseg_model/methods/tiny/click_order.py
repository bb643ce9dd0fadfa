"""Which of a lone click's masks comes first: the head's own estimate, and what the masks themselves show.

The head tells a mask's quality from the features under it and is off by a tenth and more. Three things that it does not
see tell good masks from bad ones of the same estimate: their area hardly depends on the threshold, their outline
follows changes of colour, and of two that are as good the smaller is likelier meant. Figures: docs/tiny-ablation.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.settings import ClickOrder

AROUND = 1.0  # logits above and below 0 between which a stable mask keeps its area (SAM's stability score)
EVERY = 2  # a cell of so many, each way, is counted for areas: a quarter of the time, and as good a choice
MIN_SHARE = 1e-4  # of the picture: an empty mask has a logarithm, too


class Contrast(NamedTuple):
    """Distance of colour between neighbouring cells: `across` [h, w - 1] and `down` [h - 1, w]."""

    across: Tensor
    down: Tensor


def contrast(guide: Tensor, size: tuple[int, int]) -> Contrast:
    """Of normalised colours [3, H, W], for masks of (h, w) cells."""
    cells = F.interpolate(guide[None].float(), size=size, mode="area")[0]
    across, down = cells[:, :, 1:] - cells[:, :, :-1], cells[:, 1:] - cells[:, :-1]
    return Contrast(*((part * part).sum(0).sqrt() for part in (across, down)))


def evidence(masks: Tensor, contrast: Contrast) -> Tensor:
    """What masks show of themselves.

    Args:
        masks: logits [N, M, h, w].
        contrast: of the picture.

    Returns:
        [N, M, 3] float32: the share of its area that a mask keeps at a higher threshold, the logarithm of its share of
        the picture, and the mean contrast along its outline.
    """
    some = masks[..., ::EVERY, ::EVERY]
    area, inner, outer = ((some > least).float().sum((2, 3)) for least in (0.0, AROUND, -AROUND))
    inside = masks > 0
    across, down = inside[..., 1:] ^ inside[..., :-1], inside[..., 1:, :] ^ inside[..., :-1, :]
    edges = (across * contrast.across).sum((2, 3)) + (down * contrast.down).sum((2, 3))
    sides = across.float().sum((2, 3)) + down.float().sum((2, 3))
    cells = math.prod(some.shape[2:])
    size = (area / cells + MIN_SHARE).log()
    return torch.stack([inner / outer.clamp_min(1e-6 * cells), size, edges / (sides + 1)], 2)


def best_first(masks: Tensor, quality: Tensor, contrast: Contrast, rule: ClickOrder) -> Tensor:
    """[N, M] places of the masks, the first choice first: logits [N, M, h, w], quality [N, M] in 0..1."""
    weights = torch.tensor((rule.stability, rule.area, rule.edges), device=masks.device)
    return (quality.float() + evidence(masks, contrast) @ weights).argsort(dim=1, descending=True, stable=True)
