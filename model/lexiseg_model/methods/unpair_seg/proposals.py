"""Mask proposals of stage one: masks of a grid of points, selected by quality and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lexiseg_model.errors import ShapeError
from lexiseg_model.masks.nms import suppress
from lexiseg_model.methods.unpair_seg import compatibility
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MASK_THRESHOLD, Prediction
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.network import PromptableMasks
from lexiseg_model.methods.unpair_seg.settings import PROPOSALS, Compatibility, ProposalSettings

Size = tuple[int, int]


@dataclass(frozen=True)
class Proposals:
    """Masks of one image, best first.

    Attributes:
        masks: logits [N, h, w] over the network's input, at the mask stride.
        quality: [N] in 0..1.
        source: int64 [N], index among the grid's masks: 4 * point + mask of the point.
    """

    masks: Tensor
    quality: Tensor
    source: Tensor


def grid_points(n: int, image: Size, canvas: Size) -> Tensor:
    """Points of an n x n grid over an image in the top left corner of a canvas.

    Args:
        n: points along each side.
        image: (height, width) of the original image.
        canvas: (height, width) of the network's input, whose longer side the image fills.

    Returns:
        [n * n, 2] (x, y) in pixels of the canvas, in reading order. As published, the image ends at the centre of its
        last pixel, not at its edge.
    """
    steps = torch.linspace(1 / (2 * n), 1 - 1 / (2 * n), n)
    last = torch.tensor([image[1] - 1, image[0] - 1], dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    scale = (max(canvas) - 1) / last.max().clamp(min=1)
    return torch.stack([x, y], -1).flatten(0, 1) * (last * scale)


@torch.no_grad()
def propose(
    network: PromptableMasks,
    features: PixelFeatures,
    points: Tensor,
    canvas: Size,
    settings: ProposalSettings = PROPOSALS,
    mode: Compatibility = "none",
) -> Proposals:
    """Propose masks of one image from a grid of points.

    Memory is bounded by the masks of one pass and those above the quality threshold.

    Args:
        network: the learned part of stage one.
        features: features of one image (batch axis 1).
        points: [P, 2] (x, y) in pixels of the network's input.
        canvas: (height, width) of the network's input.
        settings: quality threshold and overlap rule.
        mode: `released` repeats the quirks of the authors' code.

    Raises:
        ShapeError: the features are not those of exactly one image.
    """
    if len(features.masks) != 1:
        raise ShapeError(f"expected the features of one image, got {len(features.masks)}")
    masks: list[Tensor] = []
    quality, source, inside = [], [], []
    first = 0
    for some in torch.split(points.to(features.masks), settings.points_per_pass):
        tokens = network.predictor.prompt_encoder.points(some[None], features.masks, canvas)
        prediction = network.decode(features, tokens)
        of_some = predicted_quality(prediction, mode).flatten()
        good = (of_some >= threshold(settings, mode)).nonzero()[:, 0]
        some_masks = prediction.masks.flatten(0, 2)[good]
        masks.extend(some_masks)
        inside.append(binarised(some_masks, canvas, mode))
        quality.append(of_some[good])
        source.append(good + first)
        first += len(of_some)
    by_quality = torch.cat(quality)
    best = suppress(torch.cat(inside), by_quality, settings.rule)
    chosen = [masks[index] for index in best.tolist()]
    empty = features.masks.new_zeros(0, *features.masks.shape[2:])
    return Proposals(torch.stack(chosen) if chosen else empty, by_quality[best], torch.cat(source)[best])


def predicted_quality(prediction: Prediction, mode: Compatibility) -> Tensor:
    """Predicted quality [B, Q, M] in 0..1."""
    quality = prediction.quality.float().sigmoid()
    return quality.sigmoid() if mode == "released" else quality  # twice: 0.5 to 0.731


def threshold(settings: ProposalSettings, mode: Compatibility) -> float:
    """Quality threshold in the units of `predicted_quality`."""
    return compatibility.QUALITY if mode == "released" else settings.quality


def binarised(masks: Tensor, canvas: Size, mode: Compatibility) -> Tensor:
    """Binary masks of logits [N, h, w], at the resolution at which overlaps are counted."""
    if mode == "released":
        return compatibility.binarised(masks, canvas)
    return masks.sigmoid() >= MASK_THRESHOLD
