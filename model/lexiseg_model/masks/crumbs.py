"""Remove crumbs from masks: small islands and small holes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.kernel import calls as compiled
from lexiseg_model.kernel import library
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
