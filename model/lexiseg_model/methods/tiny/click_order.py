"""Which of a lone click's masks comes first: the head's own estimate, and what the masks themselves show.

The head tells a mask's quality from the features under it and is off by a tenth and more. Three things that it does not
see tell good masks from bad ones of the same estimate: their area hardly depends on the threshold, their outline
follows changes of colour, and of two that are as good the smaller is likelier meant. Figures: docs/training.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.kernel.evidence import shown
from lexiseg_model.methods.tiny.settings import ClickOrder

AROUND = 1.0  # logits above and below 0 between which a stable mask keeps its area (SAM's stability score)
EVERY = 2  # a cell of so many, each way, is counted for areas: a quarter of the time, and as good a choice
LEAST_SHARE = 1e-4  # of the picture: an empty mask has a logarithm, too
EVIDENCE = 3  # numbers beside the quality


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
    if _by_kernel(masks):
        return torch.from_numpy(_compiled(masks, contrast).astype(np.float32))
    area, inner, outer, edges, sides = _by_torch(masks, contrast)
    cells = _looked_at(masks)
    size = (area / cells + LEAST_SHARE).log()
    return torch.stack([inner / outer.clamp_min(1e-6 * cells), size, edges / (sides + 1)], 2)


def _by_kernel(masks: Tensor) -> bool:
    return library.ready() and masks.device.type == "cpu"


def _looked_at(masks: Tensor) -> int:
    """Cells of a mask of [N, M, h, w] that are counted for areas."""
    return math.prod(-(-side // EVERY) for side in masks.shape[2:])


def _compiled(masks: Tensor, contrast: Contrast) -> NDArray[np.float64]:
    """[N, M, 3], as `evidence`."""
    across, down = (part.numpy() for part in contrast)
    area, inner, outer, edges, sides = shown(masks.float().flatten(0, 1).numpy(), across, down, EVERY, AROUND)
    cells = _looked_at(masks)
    numbers = np.empty((len(area), EVIDENCE))
    numbers[:, 0] = inner / np.maximum(outer, 1e-6 * cells)
    numbers[:, 1] = np.log(area / cells + LEAST_SHARE)
    numbers[:, 2] = edges / (sides + 1)
    return numbers.reshape(*masks.shape[:2], EVIDENCE)


def _by_torch(masks: Tensor, contrast: Contrast) -> Sequence[Tensor]:
    """[N, M] each: cells above three thresholds, contrast along the outline and how many sides of cells that has."""
    some = masks[..., ::EVERY, ::EVERY]
    above = [(some > least).float().sum((2, 3)) for least in (0.0, AROUND, -AROUND)]
    inside = masks > 0
    across, down = inside[..., 1:] ^ inside[..., :-1], inside[..., 1:, :] ^ inside[..., :-1, :]
    edges = (across * contrast.across).sum((2, 3)) + (down * contrast.down).sum((2, 3))
    return *above, edges, across.float().sum((2, 3)) + down.float().sum((2, 3))


def best_first(masks: Tensor, quality: Tensor, contrast: Contrast, rule: ClickOrder) -> Tensor:
    """[N, M] places of the masks, the first choice first: logits [N, M, h, w], quality [N, M] in 0..1."""
    weights = rule.stability, rule.area, rule.edges
    if _by_kernel(masks):  # few numbers, for which numpy takes less time than torch
        worth = quality.float().numpy() + _compiled(masks, contrast) @ np.array(weights)
        return torch.from_numpy((-worth).argsort(axis=1, kind="stable"))
    seen = quality.float() + evidence(masks, contrast) @ torch.tensor(weights, device=masks.device)
    return seen.argsort(dim=1, descending=True, stable=True)
