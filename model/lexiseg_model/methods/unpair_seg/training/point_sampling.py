"""Masks compared at points instead of everywhere: more where a prediction is unsure (PointRend, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.unpair_seg.training.settings import POINTS as POINTS
from lexiseg_model.methods.unpair_seg.training.settings import PointSettings as PointSettings

Draw = Callable[[tuple[int, ...]], Tensor]  # a shape -> uniform numbers in 0..1


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values between cells: maps [M, h, w] at points [M, n, 2] (x, y) in 0..1 -> [M, n]."""
    return F.grid_sample(maps[:, None], (2 * points - 1)[:, :, None], align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def unsure_points(logits: Tensor, settings: PointSettings, draw: Draw) -> Tensor:
    """Points for each mask, most of them near its edge.

    Args:
        logits: [M, h, w].
        settings: how many, and how they are chosen.
        draw: asked for the candidates first, then for the points that lie anywhere.

    Returns:
        [M, points, 2] (x, y) in 0..1.
    """
    n_unsure = int(settings.importance * settings.points)
    candidates = draw((len(logits), int(settings.oversample * settings.points), 2)).to(logits)
    nearest = at_points(logits, candidates).abs().topk(n_unsure, largest=False, sorted=False).indices
    unsure = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    anywhere = draw((len(logits), settings.points - n_unsure, 2)).to(logits)
    return torch.cat([unsure, anywhere], 1)


def drawn_on(device: torch.device, generator: torch.Generator | None = None) -> Draw:
    """Uniform numbers made where they are needed."""
    return lambda shape: torch.rand(shape, device=device, generator=generator)
