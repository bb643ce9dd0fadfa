"""PAMR: pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020), without unfolding the neighbourhoods.

In each iteration a pixel's scores become the mean of its neighbours' scores, weighted by how alike the colours are. The
plain formulation copies each map once per neighbour (48 times); here shifted views are summed, so that
memory does not grow with the neighbours. `lexiseg_model.kernel` is several times as fast, where it was compiled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.kernel import library

# Row by row around the centre: the order of the affinities.
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
SHARPNESS = 0.1  # of the standard deviation, in the affinity
EPSILON = 1e-8
MAPS_AT_ONCE = 24  # so that the sums do not take much more memory than the maps


@dataclass(frozen=True)
class PamrSettings:
    """Dilations and iterations. TCL: 10 iterations over (1, 2, 4, 8, 12, 24); NACLIP: 10 over (8, 16)."""

    iterations: int = 10
    dilations: tuple[int, ...] = (1, 2, 4, 8, 12, 24)


@torch.inference_mode()
def refine(maps: Tensor, image: Tensor, settings: PamrSettings = PamrSettings()) -> Tensor:
    """Refine maps [K, h, w] by the colours of an image [C, H, W], normalised as the method's network wants it.

    Maps of another size are resized to the image's first (bilinear, align_corners=True): [K, H, W] float32.
    """
    if maps.shape[1:] != image.shape[1:]:
        maps = F.interpolate(maps[None], size=image.shape[1:], mode="bilinear", align_corners=True)[0]
    if library.ready() and maps.device.type == "cpu" and settings.iterations:
        numbers, colours = (np.ascontiguousarray(part.numpy(), np.float32) for part in (maps, image))
        result, distances = np.empty_like(numbers), np.array(settings.dilations, np.int64)
        sizes = (*numbers.shape, colours, len(colours), distances, len(distances), settings.iterations)
        library.call("pamr", numbers, result, *sizes)
        return torch.from_numpy(result)
    weights = affinity(image, settings.dilations)
    refined = torch.empty_like(maps, memory_format=torch.contiguous_format)
    for group, result in zip(*(torch.split(part, MAPS_AT_ONCE) for part in (maps, refined)), strict=True):
        for _ in range(settings.iterations):
            group = refine_once(group, weights, settings.dilations)
        result.copy_(group)
    return refined


def refine_masks(logits: Tensor, guide: Tensor) -> Tensor:
    """Refine the probability of each mask by itself: logits [N, h, w], N may be 0, -> [N, H, W]; as `refine`."""
    if not len(logits):
        return logits.new_zeros(0, *guide.shape[1:])
    return refine(logits.sigmoid(), guide).logit(EPSILON)


def affinity(image: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """Weights [len(dilations) * 8, H, W] of every pixel's neighbours; they sum to 1.

    Logit of a neighbour: -|difference| / (0.1 * deviation), mean over channels; the deviation is the unbiased one of
    a channel over all neighbours and, once for each dilation, the pixel itself.
    """
    reach = max(dilations)
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")[0]
    n_samples = len(dilations) * (len(NEIGHBOURS) + 1)
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    # Around the pixel itself the differences are small, and so is what rounding does to their squares.
    for dilation in dilations:
        for shift in NEIGHBOURS:
            difference = _shifted(padded, reach, dilation, shift, image.shape[1:]) - image
            total += difference
            squares.addcmul_(difference, difference)
    variance = (squares - total * total / n_samples) / (n_samples - 1)
    # EPSILON is inside the product, for ONNX's exporter takes a summand of 1e-8 for 0.
    scale = SHARPNESS * (EPSILON / SHARPNESS + variance.clamp_min_(0).sqrt_())
    logits = image.new_empty(len(dilations) * len(NEIGHBOURS), *image.shape[1:])
    for index, dilation in enumerate(dilations):
        for place, shift in enumerate(NEIGHBOURS):
            difference = _shifted(padded, reach, dilation, shift, image.shape[1:]) - image
            logits[index * len(NEIGHBOURS) + place] = -(difference.abs_() / scale).mean(0)
    return logits.softmax(0)


def _shifted(padded: Tensor, reach: int, dilation: int, shift: tuple[int, int], size: torch.Size) -> Tensor:
    y, x = reach + dilation * shift[0], reach + dilation * shift[1]
    return padded[:, y : y + size[0], x : x + size[1]]


def refine_once(maps: Tensor, weights: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """One iteration: the weighted mean of the neighbours, borders repeated."""
    reach = max(dilations)
    padded = F.pad(maps[None], (reach,) * 4, mode="replicate")[0]
    refined = torch.zeros_like(maps, memory_format=torch.contiguous_format)
    places = ((dilation, shift) for dilation in dilations for shift in NEIGHBOURS)
    for (dilation, shift), weight in zip(places, weights, strict=True):
        refined.addcmul_(_shifted(padded, reach, dilation, shift, maps.shape[1:]), weight)
    return refined
