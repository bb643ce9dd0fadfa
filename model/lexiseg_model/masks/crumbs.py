"""Crumbs of a mask that shows one object: islands that are small beside its largest part, and small holes in it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lexiseg_model.kernel import library
from lexiseg_model.kernel.crumbs import turn_crumbs

NEITHER = 2  # beside 1, what a mask holds, and 0, what it leaves


class CrumbRule(BaseModel):
    """What is a crumb; chosen on training photographs (docs/training.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    island: float = Field(0.2, ge=0, le=1, description="of a mask's largest part, below which a part is left out")
    hole: float = Field(0.05, ge=0, le=1, description="of what a mask holds, below which a hole is filled")


class _Parts(NamedTuple):
    """Connected parts [P] of masks and of what they leave: which they are of, cells, the mask, whether at its edge."""

    held: NDArray[np.bool_]
    area: NDArray[np.int64]
    within: NDArray[np.int64]
    edge: NDArray[np.bool_]


def without_crumbs(masks: Tensor, rule: CrumbRule) -> Tensor:
    """Logits [N, h, w] whose crumbs have changed their sign; parts and holes are connected by sides.

    What touches the picture's edge is no hole. The argument stays as it is.
    """
    if library.ready():
        turned = masks.float().numpy(force=True).copy()
        n_cells = turn_crumbs(turned, rule.island, rule.hole)
        return torch.from_numpy(turned).to(masks) if n_cells else masks
    inside = (masks > 0).numpy(force=True)
    if not inside.any():
        return masks
    n, height, width = inside.shape
    # Below each other, a row of neither between them: all are connected in one go.
    column = np.full((n, height + 1, width), NEITHER, np.uint8)
    column[:, :height] = inside
    changed = _by_opencv(column, rule)[:, :height]
    return torch.where(torch.from_numpy(changed).to(masks.device), -masks, masks) if changed.any() else masks


def _by_opencv(column: NDArray[np.uint8], rule: CrumbRule) -> NDArray[np.bool_]:
    """[N, h + 1, w]: the cells of crumbs of a column of masks."""
    n, height, width = column.shape
    changed = np.zeros(column.shape, bool)
    flat = column.reshape(-1, width)
    _, held, of_held, _ = cv2.connectedComponentsWithStats((flat == 1).astype(np.uint8), connectivity=4)
    _, left, of_left, _ = cv2.connectedComponentsWithStats((flat == 0).astype(np.uint8), connectivity=4)
    x, y, across, down, area = np.concatenate([of_held[1:], of_left[1:]]).T.astype(np.int64)
    mask, y = np.divmod(y, height)
    edge = (x == 0) | (y == 0) | (x + across == width) | (y + down == height - 1)
    n_held = len(of_held) - 1
    crumbs = _are_crumbs(_Parts(np.arange(len(area)) < n_held, area, mask, edge), n, rule)
    nothing = [False]
    for parts, some in ((held, crumbs[:n_held]), (left, crumbs[n_held:])):
        changed |= np.concatenate([nothing, some])[parts].reshape(column.shape)
    return changed


def _are_crumbs(parts: _Parts, n: int, rule: CrumbRule) -> NDArray[np.bool_]:
    """[P]: which parts of N masks are islands, or holes."""
    of, area = parts.within[parts.held], parts.area[parts.held]
    largest = np.zeros(n, np.int64)
    np.maximum.at(largest, of, area)
    total = np.bincount(of, area, n)
    islands = parts.area < rule.island * largest[parts.within]
    holes = ~parts.edge & (parts.area < rule.hole * total[parts.within])
    crumbs: NDArray[np.bool_] = np.where(parts.held, islands, holes)
    return crumbs
