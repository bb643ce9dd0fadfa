"""How far predicted masks are from target masks: dice and focal loss, pair by pair and all against all.

Both as MaskFormer has them (Cheng et al., NeurIPS 2021, section 3.3, with its released code for what the paper leaves
open). Numbers are float32 whatever autocast says; P is the pixels of a mask, logits are before the sigmoid, targets
are 0..1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.training.gather import world_size
from lexiseg_model.training.mask_loss_settings import MASKFORMER
from lexiseg_model.training.mask_loss_settings import MaskLossSettings as MaskLossSettings
from lexiseg_model.training.matching import assign


class MaskLosses(NamedTuple):
    """Scalars without their weights: means over the targets of all processes."""

    focal: Tensor
    dice: Tensor

    def weighted(self, settings: MaskLossSettings) -> Tensor:
        return settings.focal * self.focal + settings.dice * self.dice


def dice_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - (2 |p t| + 1) / (|p| + |t| + 1) of each pair: [M, P] and [M, P] -> [M]."""
    inside = logits.sigmoid()
    return 1 - (2 * (inside * targets).sum(-1) + 1) / (inside.sum(-1) + targets.sum(-1) + 1)


def focal_losses(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Mean over pixels of the focal loss of each pair: [M, P] and [M, P] -> [M]."""
    inside = logits.sigmoid()
    missed = inside + targets - 2 * inside * targets  # 1 - p_t
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weight * missed**gamma * entropy).mean(-1)


def dice_costs(logits: Tensor, targets: Tensor) -> Tensor:
    """`dice_losses` of all with all: [B, N, P] and [B, K, P] -> [B, N, K]."""
    inside = logits.sigmoid()
    area = inside.sum(-1)[:, :, None] + targets.sum(-1)[:, None, :]
    return 1 - (2 * inside @ targets.mT + 1) / (area + 1)


def focal_costs(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """`focal_losses` of all with all, of targets that are 0 or 1: [B, N, P] and [B, K, P] -> [B, N, K]."""
    inside = logits.sigmoid()
    if_in = alpha * (1 - inside) ** gamma * F.softplus(-logits)
    if_out = (1 - alpha) * inside**gamma * F.softplus(logits)
    return (if_in @ targets.mT + if_out @ (1 - targets).mT) / logits.shape[-1]


def matching_costs(masks: Tensor, targets: Tensor, settings: MaskLossSettings) -> Tensor:
    """What it costs to make each prediction answer for each target, at the resolution of the predictions.

    Args:
        masks: logits [B, N, h, w].
        targets: 0 or 1, [B, K, H, W]; the nearest pixel is taken.
        settings: weights.

    Returns:
        [B, N, K] float32.
    """
    with torch.no_grad(), torch.autocast(masks.device.type, enabled=False):
        logits = masks.float().flatten(2)
        near = F.interpolate(targets.float(), size=masks.shape[-2:], mode="nearest").flatten(2)
        focal = focal_costs(logits, near, settings.alpha, settings.gamma)
        return settings.focal * focal + settings.dice * dice_costs(logits, near)


def matched_mask_losses(
    masks: Tensor, targets: Tensor, settings: MaskLossSettings = MASKFORMER, present: Tensor | None = None
) -> MaskLosses:
    """Losses of the predictions that the cheapest assignment gives a target; the others stay unpunished.

    Predictions are brought to the targets' size, bilinear.

    Args:
        masks: logits [B, N, h, w].
        targets: 0 or 1, [B, K, H, W].
        settings: weights, of the costs alone; the losses carry none.
        present: [B, K] which targets an image has; None: all.

    Returns:
        Sums over pairs, divided by the number of targets: its mean over processes, at least 1.
    """
    pairs = assign(matching_costs(masks, targets, settings), present)
    count = torch.tensor(float(present.sum() if present is not None else targets.shape[0] * targets.shape[1]))
    with torch.autocast(masks.device.type, enabled=False):
        chosen = masks[pairs.image, pairs.prediction].float()[:, None]  # [M, 1, h, w]
        sized = F.interpolate(chosen, size=targets.shape[-2:], mode="bilinear", align_corners=False)
        logits, wanted = sized.flatten(1), targets[pairs.image, pairs.target].float().flatten(1)
        n_masks = mean_over_processes(count.to(masks.device)).clamp(min=1)
        return MaskLosses(
            focal_losses(logits, wanted, settings.alpha, settings.gamma).sum() / n_masks,
            dice_losses(logits, wanted).sum() / n_masks,
        )


def mean_over_processes(count: Tensor) -> Tensor:
    """A number, such as of targets, averaged over all processes; it may be changed in place."""
    if world_size() > 1:
        dist.all_reduce(count)
    return count / world_size()
