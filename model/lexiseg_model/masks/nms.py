"""Non-maximum suppression of masks, a block of them at a time, on their device."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from lexiseg_model.cards import StrictModel

BLOCK = 128  # masks compared in one product; bounds its memory
EPSILON = 1e-6  # added to the denominators, for empty masks


class OverlapRule(StrictModel):
    """When a better mask suppresses another."""

    overlap: float = Field(0.5, gt=0, le=1, description="intersection over union from which the worse one goes")
    inside: float | None = Field(
        0.7, gt=0, le=1, description="share of the worse one inside the better from which it goes"
    )


OVERLAPS = OverlapRule()


@torch.no_grad()
def suppress(masks: Tensor, scores: Tensor, rule: OverlapRule = OVERLAPS) -> Tensor:
    """Greedy suppression of bool masks [N, h, w] by scores [N]: indices [K] of the ones that remain, best first.

    Mask j is suppressed if a better mask i that remains has |i & j| / |i | j| >= `rule.overlap` or, unless `inside` is
    None, |i & j| / |j| >= `rule.inside`. Of equal scores the first is better.
    """
    waiting = scores.argsort(descending=True, stable=True).to(masks.device)
    survivors_of_blocks = [waiting[:0]]
    while len(waiting):
        # Sequentially within a block, then all kept masks of the block against the rest.
        block, waiting = waiting[:BLOCK], waiting[BLOCK:]
        better = masks[block].flatten(1).float()
        survivors = _greedy(_suppressing(better, better, rule))
        better = better[survivors]
        suppressed = [
            _suppressing(better, masks[some].flatten(1).float(), rule).any(0) for some in torch.split(waiting, BLOCK)
        ]
        waiting = waiting[~torch.cat(suppressed)] if suppressed else waiting
        survivors_of_blocks.append(block[survivors])
    return torch.cat(survivors_of_blocks)


def _suppressing(better: Tensor, worse: Tensor, rule: OverlapRule) -> Tensor:
    """Which better masks suppress which worse ones: [I, J] bool, of [I, P] and [J, P], 0 or 1. In float32 as published,
    which matters at equality of a ratio and its threshold; counts of pixels are exact."""
    shared, areas = better @ worse.T, worse.sum(1)
    suppresses = shared / (better.sum(1)[:, None] + areas - shared + EPSILON) >= rule.overlap
    return suppresses if rule.inside is None else suppresses | (shared / (areas + EPSILON) >= rule.inside)


def _greedy(suppressing: Tensor) -> Tensor:
    """Which masks of a block sorted by score are kept: [B] bool, from `suppressing` [B, B]."""
    later = suppressing.triu(1).cpu()
    keep = torch.ones(len(later), dtype=torch.bool)
    for index, suppressed in enumerate(later):
        if keep[index]:
            keep &= ~suppressed
    return keep.to(suppressing.device)
