"""Losses of promptable masks: the best of a point's answers is taught the mask, all of them how good they are."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.prompt_head import MaskAnswers

ENTROPY, DICE, QUALITY = 2.0, 1.0, 1.0  # Unpair-Seg's 2 : 1 : 1
OTHERS = 0.05  # of the loss goes to the mean over a point's answers, so that none of them dies


class PromptLosses(NamedTuple):
    """`total` to be minimised; `overlap`, the mean IoU of the best answers, for the log."""

    total: Tensor
    overlap: Tensor


def prompt_losses(answers: MaskAnswers, targets: Tensor, valid: Tensor) -> PromptLosses:
    """Losses of N prompts for each of B images.

    Args:
        answers: masks [B, N, M, h, w] and quality [B, N, M].
        targets: share of each cell that is the object's, [B, N, h, w] in 0..1.
        valid: [B, h, w] of 0 and 1: where masks count.
    """
    logits = answers.masks.float()
    wanted, counts = targets[:, :, None], valid[:, None, None]
    entropy = F.binary_cross_entropy_with_logits(logits, wanted.expand_as(logits), reduction="none")
    entropy = (entropy * counts).flatten(3).sum(3) / counts.flatten(3).sum(3).clamp_min(1)
    inside = logits.sigmoid() * counts
    shared = (inside * wanted).flatten(3).sum(3)
    area = inside.flatten(3).sum(3) + (wanted * counts).flatten(3).sum(3)
    losses = ENTROPY * entropy + DICE * (1 - (2 * shared + 1) / (area + 1))  # [B, N, M]
    reached = overlaps(logits.detach(), wanted, counts)
    off = F.smooth_l1_loss(answers.quality.float().sigmoid(), reached, beta=0.1)
    best = (1 - OTHERS) * losses.amin(2).mean() + OTHERS * losses.mean()
    return PromptLosses(best + QUALITY * off, reached.amax(2).mean())


def overlaps(logits: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """IoU of masks cut at logit 0 with targets cut at one half, where it counts: [..., h, w] -> [...]."""
    ours, theirs, counted = logits > 0, wanted > 0.5, counts > 0
    both = (ours & theirs & counted).flatten(-2).sum(-1)
    either = ((ours | theirs) & counted).flatten(-2).sum(-1)
    return both / either.clamp_min(1)
