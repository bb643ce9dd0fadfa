"""Losses of stage one: cross-entropy and dice at points, and how well the model knows its own quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.training.point_sampling import (
    POINTS,
    Draw,
    PointSettings,
    at_points,
    unsure_points,
)
from lexiseg_model.methods.unpair_seg.training.prompt_matching import Matches
from lexiseg_model.training.losses import dice_losses, mean_over_processes

MASK, DICE, QUALITY = 2.0, 1.0, 1.0  # weights of the released configuration


class PromptLosses(NamedTuple):
    """Scalars without their weights: means over the pairs of all processes."""

    mask: Tensor
    dice: Tensor
    quality: Tensor

    @property
    def weighted(self) -> Tensor:
        return MASK * self.mask + DICE * self.dice + QUALITY * self.quality


def prompt_losses(
    predictions: Sequence[Prediction],
    targets: Sequence[Tensor],
    matches: Matches,
    draw: Draw,
    settings: PointSettings = POINTS,
) -> list[PromptLosses]:
    """Losses of several predictions by the same matches, those of the last layer; their `weighted` are added up.

    Args:
        predictions: of the layers, in the order in which `draw` is to serve them.
        targets: for each image its objects, 0 or 1, [K, H, W]; one size in the batch.
        matches: who answers for whom (`prompt_matching`).
        draw: where the points come from.
        settings: how many points.
    """
    count = torch.tensor(float(len(matches.image)), device=matches.dice.device)
    n_pairs = mean_over_processes(count).clamp(min=1)
    matched = [objects[matches.target[matches.image == image]] for image, objects in enumerate(targets)]
    return [_losses(each, torch.cat(matched).float(), matches, n_pairs, draw, settings) for each in predictions]


def _losses(
    prediction: Prediction, targets: Tensor, matches: Matches, n_pairs: Tensor, draw: Draw, settings: PointSettings
) -> PromptLosses:
    with torch.autocast(prediction.masks.device.type, enabled=False):
        logits = prediction.masks.flatten(1, 2)[matches.image, matches.prediction].float()  # [M, h, w]
        quality = prediction.quality.flatten(1)[matches.image, matches.prediction].float().sigmoid()
        points = unsure_points(logits, settings, draw)
        predicted, truth = at_points(logits, points), at_points(targets, points)
        entropy = F.binary_cross_entropy_with_logits(predicted, truth, reduction="none").mean(1)
        return PromptLosses(
            entropy.sum() / n_pairs,
            dice_losses(predicted, truth).sum() / n_pairs,
            F.smooth_l1_loss(quality, matches.dice, reduction="sum") / n_pairs,
        )
