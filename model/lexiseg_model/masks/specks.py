"""Remove specks from label maps: small regions and holes get the label of their surroundings."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.kernel import calls as compiled
from lexiseg_model.kernel import library
from lexiseg_model.masks.regions import MAX_REGIONS, Regions, split
from lexiseg_model.types import StrictModel


class SpeckRule(StrictModel):
    """Which regions are specks, in shares of the image; tuned on training photographs (docs/tiny-ablation.md)."""

    area: float = Field(0.005, ge=0, le=1, description="regions and holes from this area on stay; 0: all stay")
    part: float = Field(0.1, ge=0, le=1, description="regions from this share of their class's largest region on stay")
    least: float = Field(0.0005, ge=0, le=1, description="regions below this area are always specks")


NO_SPECKS = SpeckRule(area=0.0)


def without_specks(logits: Tensor, n_classes: int, rule: SpeckRule) -> Tensor:
    """Give every speck the label with the longest common border, other specks excluded.

    The logits of the two labels are swapped at its cells, so the new label wins by the same margin.

    Args:
        logits: [K, h, w] of the classes, and with one row more of nobody; may be modified.
        n_classes: number of classes.
        rule: which regions are specks.

    Returns:
        Logits [K, h, w].
    """
    if not rule.area:
        return logits
    if library.ready() and logits.device.type == "cpu" and logits.dtype == torch.float32 and len(logits) < MAX_REGIONS:
        contiguous = logits.contiguous()
        compiled.remove_specks(contiguous.numpy(), n_classes, (rule.area, rule.part, rule.least), MAX_REGIONS)
        return contiguous
    winner = logits.max(0).indices  # several times faster than `argmax`
    labels = winner.cpu().numpy().astype(np.uint16)
    regions = split(labels, np.unique(labels).tolist(), 1)
    if len(regions.owner) >= MAX_REGIONS:
        return logits
    new_owner = _new_owners(regions, _specks(regions, n_classes, rule))
    changed = np.flatnonzero((new_owner != regions.owner)[regions.labels])
    if not len(changed):
        return logits
    cells = torch.from_numpy(changed).to(logits.device)
    new = torch.from_numpy(new_owner[regions.labels.reshape(-1)[changed]]).to(logits.device)
    old = winner.flatten()[cells]
    flat = logits.flatten(1)
    swapped = flat.clone()
    swapped[new, cells], swapped[old, cells] = flat[old, cells], flat[new, cells]
    return swapped.view_as(logits)


def _specks(regions: Regions, n_classes: int, rule: SpeckRule) -> NDArray[np.bool_]:
    """Which regions are specks, or small holes of nobody's: [N] bool."""
    owner = regions.owner
    share = np.bincount(regions.labels.reshape(-1), minlength=len(owner)) / regions.labels.size
    largest = np.zeros(int(owner.max()) + 1)
    np.maximum.at(largest, owner, share)
    small = (share < rule.area) & ((owner == n_classes) | (share < rule.part * largest[owner]))
    specks: NDArray[np.bool_] = small | (share < rule.least)
    return specks


def _new_owners(regions: Regions, specks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The label [N] of each region; for a speck the one with most cell sides along its border, the lowest in a tie."""
    ids, owner = regions.labels, regions.owner
    n_labels = int(owner.max()) + 1
    sides = []
    for one, two in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])):
        border = one != two
        for region, neighbour in ((one[border], two[border]), (two[border], one[border])):
            counts = specks[region] & ~specks[neighbour]
            sides.append(region[counts].astype(np.int64) * n_labels + owner[neighbour[counts]])
    pairs, votes = np.unique(np.concatenate(sides), return_counts=True)
    order = np.lexsort((-pairs, votes))  # the last assignment to a speck wins
    new_owner = owner.copy()
    new_owner[pairs[order] // n_labels] = pairs[order] % n_labels
    return new_owner


class CrumbRule(StrictModel):
    """Definition of a crumb; chosen on training photographs (docs/tiny-ablation.md)."""

    island: float = Field(0.2, ge=0, le=1, description="of a mask's largest part, below which a part is left out")
    hole: float = Field(0.05, ge=0, le=1, description="of what a mask holds, below which a hole is filled")


def without_crumbs(masks: Tensor, rule: CrumbRule) -> Tensor:
    """Logits [N, h, w] whose crumbs have changed their sign; parts and holes are connected by sides.

    What touches the picture's edge is no hole. The argument stays as it is.
    """
    if library.ready():
        cleaned = masks.float().numpy(force=True).copy()
        n_cells = compiled.remove_crumbs(cleaned, rule.island, rule.hole)
        return torch.from_numpy(cleaned).to(masks) if n_cells else masks
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
