"""Specks (small regions of a label that has a larger one) and small holes go to the label around them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.kernel import calls as compiled
from lexiseg_model.kernel import library
from lexiseg_model.kernel.calls import turn_crumbs
from lexiseg_model.masks.regions import MAX_REGIONS, Regions, split
from lexiseg_model.types import StrictModel


class SpeckRule(StrictModel):
    """What is a speck, in shares of the picture; chosen on training photographs (docs/tiny-ablation.md)."""

    area: float = Field(
        0.005, ge=0, le=1, description="from which no region is a speck, and no hole; 0: there are none"
    )
    part: float = Field(0.1, ge=0, le=1, description="of its class's largest region, from which a region is none")
    least: float = Field(0.0005, ge=0, le=1, description="below which a region is one in any case")


NO_SPECKS = SpeckRule(area=0.0)


def without_specks(logits: Tensor, n_classes: int, rule: SpeckRule) -> Tensor:
    """Give every speck to the label that it has the longest border with, specks left out.

    At its cells the logits of the two labels are exchanged: the new one wins by as much as the old one did.

    Args:
        logits: [K, h, w] of the classes, and of nobody if there is one row more.
        n_classes: how many classes.
        rule: what is a speck.

    Returns:
        The same, [K, h, w]; the argument may have been written to.
    """
    if not rule.area:
        return logits
    if library.ready() and logits.device.type == "cpu" and logits.dtype == torch.float32 and len(logits) < MAX_REGIONS:
        tidied = logits.contiguous()
        compiled.tidy(tidied.numpy(), n_classes, (rule.area, rule.part, rule.least), MAX_REGIONS)
        return tidied
    winner = logits.max(0).indices  # several times as fast as `argmax`
    labels = winner.cpu().numpy().astype(np.uint16)
    regions = split(labels, np.unique(labels).tolist(), 1)
    if len(regions.owner) >= MAX_REGIONS:
        return logits
    heir = _heirs(regions, _specks(regions, n_classes, rule))
    changed = np.flatnonzero((heir != regions.owner)[regions.labels])
    if not len(changed):
        return logits
    cells = torch.from_numpy(changed).to(logits.device)
    to = torch.from_numpy(heir[regions.labels.reshape(-1)[changed]]).to(logits.device)
    of = winner.flatten()[cells]
    flat = logits.flatten(1)
    exchanged = flat.clone()
    exchanged[to, cells], exchanged[of, cells] = flat[of, cells], flat[to, cells]
    return exchanged.view_as(logits)


def _specks(regions: Regions, n_classes: int, rule: SpeckRule) -> NDArray[np.bool_]:
    """[N]: which regions are specks, or holes of nobody's."""
    owner = regions.owner
    share = np.bincount(regions.labels.reshape(-1), minlength=len(owner)) / regions.labels.size
    largest = np.zeros(int(owner.max()) + 1)
    np.maximum.at(largest, owner, share)
    small = (share < rule.area) & ((owner == n_classes) | (share < rule.part * largest[owner]))
    specks: NDArray[np.bool_] = small | (share < rule.least)
    return specks


def _heirs(regions: Regions, specks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N]: the label of each region; of a speck that with most sides of cells along its border, of equals the first."""
    ids, owner = regions.labels, regions.owner
    n_labels = int(owner.max()) + 1
    sides = []
    for one, two in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        border = one != two
        for of, to in ((one[border], two[border]), (two[border], one[border])):
            taken = specks[of] & ~specks[to]
            sides.append(of[taken].astype(np.int64) * n_labels + owner[to[taken]])
    pairs, votes = np.unique(np.concatenate(sides), return_counts=True)
    order = np.lexsort((-pairs, votes))  # the last of a speck's pairs stays
    heir = owner.copy()
    heir[pairs[order] // n_labels] = pairs[order] % n_labels
    return heir


class CrumbRule(StrictModel):
    """What is a crumb; chosen on training photographs (docs/tiny-ablation.md)."""

    island: float = Field(0.2, ge=0, le=1, description="of a mask's largest part, below which a part is left out")
    hole: float = Field(0.05, ge=0, le=1, description="of what a mask holds, below which a hole is filled")


def without_crumbs(masks: Tensor, rule: CrumbRule) -> Tensor:
    """Logits [N, h, w] whose crumbs have changed their sign; parts and holes are connected by sides.

    What touches the picture's edge is no hole. The argument stays as it is.
    """
    if library.ready():
        turned = masks.float().numpy(force=True).copy()
        n_cells = turn_crumbs(turned, rule.island, rule.hole)
        return torch.from_numpy(turned).to(masks) if n_cells else masks
    crumbs = np.stack([_crumbs(mask, rule) for mask in (masks > 0).numpy(force=True)]) if len(masks) else np.zeros(0)
    return torch.where(torch.from_numpy(crumbs).to(masks.device), -masks, masks) if crumbs.any() else masks


def _crumbs(mask: NDArray[np.bool_], rule: CrumbRule) -> NDArray[np.bool_]:
    """[h, w]: the cells of islands and holes."""
    _, parts, of_parts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    _, rest, of_rest, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    islands = of_parts[:, cv2.CC_STAT_AREA] < rule.island * of_parts[1:, cv2.CC_STAT_AREA].max(initial=0)
    x, y, width, height, area = of_rest.T
    inner = (x > 0) & (y > 0) & (x + width < mask.shape[1]) & (y + height < mask.shape[0])
    holes = inner & (area < rule.hole * mask.sum())
    crumbs: NDArray[np.bool_] = np.where(mask, islands[parts], holes[rest])
    return crumbs
