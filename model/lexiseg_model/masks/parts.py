"""Connected parts of a mask by tensor operations only, so that an exported graph can find them, too."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from lexiseg_model.cards import StrictModel
from lexiseg_model.kernel import library

ROUNDS = 8  # of propagation along rows and columns; each at least doubles how far a number reaches


def part_numbers(region: Tensor) -> Tensor:
    """Number the parts of a region [h, w] bool, connected by sides: [h, w] int64.

    All cells of a part have the index of its last cell; cells outside have -1. In a maze of a part, more winding than
    ROUNDS can follow, pieces may count as parts of their own.
    """
    height, width = region.shape
    numbers = torch.where(region, torch.arange(height * width, device=region.device).view(height, width), -1)
    across, down = _runs(region), _runs(region.T)
    for _ in range(ROUNDS):
        before = numbers
        numbers = torch.where(region, _highest_of_runs(numbers, across), -1)
        numbers = torch.where(region, _highest_of_runs(numbers.T, down).T, -1)
        # The cell that a number names may itself have learned of a higher one.
        numbers = torch.where(region, numbers.flatten()[numbers.clamp_min(0)], -1)
        if not torch.compiler.is_exporting() and torch.equal(numbers, before):
            break  # a graph takes all rounds
    return numbers


def parts_around(region: Tensor, cells: Tensor) -> Tensor:
    """The parts of a region [h, w] bool that have some of the `cells` [h, w] bool: [h, w] bool."""
    numbers = part_numbers(region)
    return region & (sums_of(numbers, cells)[numbers.clamp_min(0)] > 0)


def sums_of(numbers: Tensor, cells: Tensor) -> Tensor:
    """How many of the `cells` [h, w] bool each part has: [h * w] float32, by the numbers of `part_numbers`."""
    counted = (cells & (numbers >= 0)).flatten().float()
    return torch.zeros_like(counted).scatter_add(0, numbers.flatten().clamp_min(0), counted)


def _runs(region: Tensor) -> Tensor:
    """Number the runs of cells inside along each row: [h, w] int64, lower than h * (w + 1)."""
    height, width = region.shape
    first = (width + 1) * torch.arange(height, device=region.device)[:, None]
    return (~region).long().cumsum(1) + first


def _highest_of_runs(numbers: Tensor, runs: Tensor) -> Tensor:
    """Give every cell the highest number of its run; cells outside get that of the next one."""
    height, width = numbers.shape
    highest = torch.full((height * (width + 1),), -1, dtype=numbers.dtype, device=numbers.device)
    highest = highest.scatter_reduce(0, runs.flatten(), numbers.flatten(), "amax")
    return highest[runs]


class CrumbRule(StrictModel):
    """Definition of a crumb; chosen on training photographs (docs/quality.md)."""

    island: float = Field(0.2, ge=0, le=1, description="share of a mask's largest part below which a part is left out")
    hole: float = Field(0.05, ge=0, le=1, description="share of a mask's area below which a hole is filled")


def without_crumbs(masks: Tensor, rule: CrumbRule) -> Tensor:
    """Logits [N, h, w] with the sign of crumbs changed; parts and holes are connected by sides, and what touches the
    picture's edge is no hole. The argument stays as it is."""
    if library.ready():
        cleaned = masks.float().numpy(force=True).copy()
        n_changed = library.call("crumbs", cleaned, *cleaned.shape, rule.island, rule.hole)
        return torch.from_numpy(cleaned).to(masks) if n_changed else masks
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
