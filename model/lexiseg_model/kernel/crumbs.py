"""Crumbs of masks, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def turn_crumbs(masks: NDArray[np.float32], island: float, hole: float) -> int:
    """As `lexiseg_model.masks.crumbs.without_crumbs`, in place; how many cells changed their sign.

    Args:
        masks: logits [N, h, w], contiguous.
        island: of a mask's largest part, below which a part is left out.
        hole: of what a mask holds, below which a hole is filled.
    """
    return call("crumbs", masks, *masks.shape, float(island), float(hole))
