"""Remove crumbs from masks: small islands and small holes."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.masks.parts import part_numbers, sums_of
from lexiseg_model.types import StrictModel


class CrumbRule(StrictModel):
    """Definition of a crumb; chosen on training photographs (docs/tiny-ablation.md)."""

    island: float = Field(0.2, ge=0, le=1, description="share of a mask's largest part below which a part is left out")
    hole: float = Field(0.05, ge=0, le=1, description="share of a mask's area below which a hole is filled")


def without_crumbs(masks: Tensor, rule: CrumbRule) -> Tensor:
    """Logits [N, h, w] whose crumbs have changed their sign; parts and holes are connected by sides.

    What touches the picture's edge is no hole. The argument stays as it is.
    """
    if library.ready():
        cleaned = masks.float().numpy(force=True).copy()
        n_cells = library.remove_crumbs(cleaned, rule.island, rule.hole)
        return torch.from_numpy(cleaned).to(masks) if n_cells else masks
    crumbs = [crumbs_of(mask > 0, rule) for mask in masks]
    return torch.where(torch.stack(crumbs), -masks, masks) if crumbs else masks


def crumbs_of(mask: Tensor, rule: CrumbRule) -> Tensor:
    """The cells [h, w] of islands and holes of a mask [h, w] bool."""
    parts, rest = part_numbers(mask), part_numbers(~mask)
    areas = sums_of(parts, mask)
    islands = mask & (areas[parts.clamp_min(0)] < rule.island * areas.amax(0))
    inner = torch.zeros_like(mask)
    inner[1:-1, 1:-1] = True
    holes = (sums_of(rest, ~mask) < rule.hole * mask.sum()) & (sums_of(rest, ~mask & ~inner) == 0)
    return islands | (~mask & holes[rest.clamp_min(0)])
