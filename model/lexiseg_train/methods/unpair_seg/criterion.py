"""Matching and losses of stage one: cross-entropy and dice at sampled points, and the loss of predicted quality.

Each grid point is matched separately: its four masks with the objects at the point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.settings import Compatibility
from lexiseg_train.methods.unpair_seg.trainings import PointSettings
from lexiseg_train.training.distributed import mean_over_processes
from lexiseg_train.training.losses import assign, dice_costs, dice_losses

Draw = Callable[[tuple[int, ...]], Tensor]  # uniform numbers in 0..1 of a shape
FORBIDDEN = 1e6  # cost that the released code adds where a point is not on the object
MASK, DICE, QUALITY = 2.0, 1.0, 1.0  # weights in loss and matching cost, from the released configuration


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps [M, h, w] bilinearly at points [M, n, 2], (x, y) in 0..1: [M, n]."""
    return F.grid_sample(maps[:, None], (2 * points - 1)[:, :, None], align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def unsure_points(logits: Tensor, settings: PointSettings, draw: Draw) -> Tensor:
    """Points [M, points, 2] (x, y) in 0..1 for masks [M, h, w], most where its logits are near 0 (PointRend)."""
    n_unsure = int(settings.importance * settings.points)
    candidates = draw((len(logits), int(settings.oversample * settings.points), 2)).to(logits)
    nearest = at_points(logits, candidates).abs().topk(n_unsure, largest=False, sorted=False).indices
    unsure = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    anywhere = draw((len(logits), settings.points - n_unsure, 2)).to(logits)
    return torch.cat([unsure, anywhere], 1)


def drawn_on(device: torch.device) -> Draw:
    """Uniform numbers on a device."""
    return lambda shape: torch.rand(shape, device=device)


class Matches(NamedTuple):
    """M matched pairs of a batch, image by image."""

    image: Tensor  # int64 [M]
    prediction: Tensor  # int64 [M], prompt * masks per prompt + mask
    target: Tensor  # int64 [M]
    dice: Tensor  # [M], soft dice coefficient of each pair, the target of `quality`


@torch.no_grad()
def match_points(masks: Tensor, targets: Sequence[Tensor], points: Tensor, compatibility: Compatibility) -> Matches:
    """Match the masks of points, logits [B, Q, M, h, w], with objects [K, H, W] of each image at the points [B, Q, 2].

    `released`, as in the authors' code, adds 1e6 in float32 to the cost of masks that a point is not on: forbidden
    pairs compete with allowed ones, and costs are rounded to 1/16. Forbidden pairs are removed afterwards in both
    modes."""
    by_image = [
        _match_image(*each, compatibility) for each in zip(masks, targets, points, strict=True)
    ]  # prediction, target and dice of each image
    return _together(by_image)


def _match_image(masks: Tensor, targets: Tensor, points: Tensor, compatibility: Compatibility) -> list[Tensor]:
    costs, dice = point_costs(masks, targets)
    height, width = targets.shape[-2:]
    x, y = points.long().unbind(-1)
    allowed = targets[:, y.clamp(0, height - 1), x.clamp(0, width - 1)].T > 0  # [Q, K]: the point is on the object
    if compatibility == "released":
        hindered = costs + FORBIDDEN * (~allowed).float()[:, None]
        pairs = assign(hindered)
        is_allowed = allowed[pairs.image, pairs.target]
        point, mask, target = (each[is_allowed] for each in pairs)
    else:
        point, mask, target = assign(costs, allowed)
    return [point * masks.shape[1] + mask, target, 1 - dice[point, mask, target]]


@torch.no_grad()
def match_paired(masks: Tensor, targets: Sequence[Tensor]) -> Matches:
    """Match prediction i of [B, Q, 1, h, w] with target i of each image's [Q, H, W], for prompts drawn from objects."""
    by_image = []
    for of_image, objects in zip(masks, targets, strict=True):
        logits, resized = of_image.float().flatten(1), _nearest(objects, of_image.shape[-2:])
        dice = dice_costs(logits[:, None], resized[:, None])[:, 0, 0]
        order = torch.arange(len(objects), device=masks.device)
        by_image.append([order, order, 1 - dice])
    return _together(by_image)


def point_costs(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Costs [Q, M, K] of masks, logits [Q, M, h, w], and objects [K, H, W], and their dice part, at half resolution."""
    with torch.autocast(masks.device.type, enabled=False):
        small = F.interpolate(masks.float(), scale_factor=0.5, mode="bilinear", align_corners=False)
        logits, resized = small.flatten(0, 1).flatten(1), _nearest(targets, small.shape[-2:])
        dice = dice_costs(logits[None], resized[None])[0]
        entropy = (F.softplus(-logits) @ resized.T + F.softplus(logits) @ (1 - resized).T) / logits.shape[1]
        costs = MASK * entropy + DICE * dice
    shape = (*masks.shape[:2], len(targets))
    return costs.view(shape), dice.view(shape)


def _nearest(targets: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(targets[:, None].float(), size=list(size), mode="nearest").flatten(1)


def _together(by_image: Sequence[Sequence[Tensor]]) -> Matches:
    image = torch.cat([torch.full_like(each[0], index) for index, each in enumerate(by_image)])
    prediction, target, dice = (torch.cat(parts) for parts in zip(*by_image, strict=True))
    return Matches(image, prediction, target, dice)


class PromptLosses(NamedTuple):
    """Unweighted scalar losses: means over the pairs of all processes."""

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
    settings: PointSettings,
) -> list[PromptLosses]:
    """Losses of several layers' predictions, in the order of calls of `draw`, with the matches of the last layer."""
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
