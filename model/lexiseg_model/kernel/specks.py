"""Specks of the winning labels, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def tidy(logits: NDArray[np.float32], n_classes: int, shares: tuple[float, float, float], most: int) -> int:
    """As `lexiseg_model.masks.specks.without_specks`, in place; at how many cells logits were exchanged.

    Args:
        logits: [K, h, w], contiguous.
        n_classes: how many of the rows are classes.
        shares: the rule's `area`, `part` and `least`.
        most: regions, from which on nothing is done.
    """
    return call("tidy", logits, *logits.shape, n_classes, *map(float, shares), most)
