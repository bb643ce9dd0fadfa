"""Losses that several methods share: InfoNCE between images and texts, dice and focal loss between masks, matching.

Mask losses follow MaskFormer (Cheng et al., NeurIPS 2021, section 3.3, and its released code). Numbers are at
least float32, under autocast, too. P is the pixels of a mask, logits are before the sigmoid, targets are 0..1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lexiseg_model.resources.device import wide
from lexiseg_train.training.distributed import mean_over_processes, place
from lexiseg_train.training.recipe import MaskLossSettings

MASKFORMER = MaskLossSettings()
NOT_FINITE = 1e30  # cost of a pair without a finite one


def contrast_loss(scale: Tensor, by_image: Tensor, by_text: Tensor) -> Tensor:
    """Symmetric InfoNCE over all processes, by cosines [B, N] of images with all captions and the reverse."""
    return info_nce(scale * by_image, scale * by_text, place() * len(by_image))


def info_nce(by_image: Tensor, by_text: Tensor, first: int = 0) -> Tensor:
    """Symmetric InfoNCE of logits [B, N] of images and of texts; row i matches column `first` + i."""
    targets = torch.arange(len(by_image), device=by_image.device) + first
    return (F.cross_entropy(by_image, targets) + F.cross_entropy(by_text, targets)) / 2


class MaskLosses(NamedTuple):
    """Unweighted sums over the targets of a batch, for each of L layers, and the number of targets."""

    focal: Tensor  # [L]
    dice: Tensor  # [L]
    targets: Tensor  # scalar

    def weighted(self, settings: MaskLossSettings) -> Tensor:
        return settings.focal * self.focal + settings.dice * self.dice


def mean_over_targets(sums: Tensor, targets: Tensor) -> Tensor:
    """Sums of this process divided by the mean number of targets, a scalar, over processes, at least 1."""
    return sums / mean_over_processes(targets.detach().clone()).clamp(min=1)


def dice_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice losses [M], 1 - (2 |p t| + 1) / (|p| + |t| + 1), of M pairs of logits and targets, [M, P] each."""
    inside = logits.sigmoid()
    return 1 - (2 * (inside * targets).sum(-1) + 1) / (inside.sum(-1) + targets.sum(-1) + 1)


def focal_losses(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal losses [M], means over pixels, of M pairs of logits and targets, [M, P] each."""
    inside = logits.sigmoid()
    missed = inside + targets - 2 * inside * targets  # 1 - p_t
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weight * missed**gamma * entropy).mean(-1)


def dice_costs(logits: Tensor, targets: Tensor) -> Tensor:
    """`dice_losses` [B, N, K] of all combinations of logits [B, N, P] and targets [B, K, P]."""
    inside = logits.sigmoid()
    area = inside.sum(-1)[:, :, None] + targets.sum(-1)[:, None, :]
    return 1 - (2 * inside @ targets.mT + 1) / (area + 1)


def focal_costs(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """`focal_losses` [B, N, K] of all combinations of logits [B, N, P] and targets [B, K, P] of 0 or 1."""
    inside = logits.sigmoid()
    if_in = alpha * (1 - inside) ** gamma * F.softplus(-logits)
    if_out = (1 - alpha) * inside**gamma * F.softplus(logits)
    return (if_in @ targets.mT + if_out @ (1 - targets).mT) / logits.shape[-1]


def matching_costs(masks: Tensor, targets: Tensor, settings: MaskLossSettings) -> Tensor:
    """Cost [B, N, K], at least float32, of assigning each prediction to each target, at the predictions' resolution.

    Masks are logits [B, N, h, w], targets 0 or 1, [B, K, H, W], resized to the nearest pixel.
    """
    with torch.no_grad(), torch.autocast(masks.device.type, enabled=False):
        logits = wide(masks).flatten(2)
        near = F.interpolate(targets.to(logits), size=masks.shape[-2:], mode="nearest").flatten(2)
        focal = focal_costs(logits, near, settings.alpha, settings.gamma)
        return settings.focal * focal + settings.dice * dice_costs(logits, near)


class Pairs(NamedTuple):
    """M matched pairs over a batch, int64 [M] each; sorted by image and prediction."""

    image: Tensor
    prediction: Tensor
    target: Tensor


@torch.no_grad()
def assign(costs: Tensor, present: Tensor | None = None) -> Pairs:
    """The Hungarian assignment of least total cost for each image: min(N, its targets) pairs, on the costs' device.

    Costs [B, N, K] are of N predictions with K targets, NOT_FINITE for numbers that are not finite; `present` [B, K]
    says which targets an image has, None: all.
    """
    matrices = np.nan_to_num(costs.double().cpu().numpy(), nan=NOT_FINITE, posinf=NOT_FINITE, neginf=-NOT_FINITE)
    every = np.arange(matrices.shape[2])
    targets = [every] * len(matrices) if present is None else [np.flatnonzero(has) for has in present.cpu().numpy()]
    # Selecting columns takes longer than the assignment.
    solved = [
        linear_sum_assignment(matrix if len(mine) == len(every) else matrix[:, mine])
        for matrix, mine in zip(matrices, targets, strict=True)
    ]
    image = np.repeat(np.arange(len(solved)), [len(rows) for rows, _ in solved])
    prediction = [rows for rows, _ in solved]
    target = [mine[columns] for mine, (_, columns) in zip(targets, solved, strict=True)]
    parts = (image, *(np.concatenate([every[:0], *each]) for each in (prediction, target)))
    return Pairs(*(torch.from_numpy(part).to(costs.device) for part in parts))


def matched_mask_losses(
    masks: Tensor, targets: Tensor, settings: MaskLossSettings = MASKFORMER, present: Tensor | None = None
) -> MaskLosses:
    """Losses of the predictions matched to a target, resized to the targets' size; unmatched ones cost nothing.

    Masks are logits [L, B, N, h, w] of L layers, each matched by itself, targets 0 or 1, [B, K, H, W], of which an
    image has the `present` [B, K]; None: all.
    """
    n_layers, n_images = masks.shape[:2]
    # All layers in one call: the device is waited for once.
    costs = torch.cat([matching_costs(layer, targets, settings) for layer in masks])
    pairs = assign(costs, None if present is None else present.repeat(n_layers, 1))
    layer, image = pairs.image // n_images, pairs.image % n_images
    count = torch.tensor(float(present.sum() if present is not None else targets.shape[0] * targets.shape[1]))
    with torch.autocast(masks.device.type, enabled=False):
        matched = wide(masks[layer, image, pairs.prediction])[:, None]  # [M, 1, h, w]
        sized = F.interpolate(matched, size=targets.shape[-2:], mode="bilinear", align_corners=False)
        logits, truth = sized.flatten(1), targets[image, pairs.target].to(matched).flatten(1)
        each = focal_losses(logits, truth, settings.alpha, settings.gamma), dice_losses(logits, truth)
        nothing = logits.new_zeros(n_layers)
        focal, dice = (nothing.index_add(0, layer, loss) for loss in each)
        return MaskLosses(focal, dice, count.to(masks.device))
