"""Differences of two label maps of one photograph."""

from __future__ import annotations

import numpy as np

from lexiseg_model.types import LabelMap

MAX_SWAPS = 3  # reported for a photograph
BACKGROUND = 0  # in a map of labels; classes count from 1


def largest_swaps(a: LabelMap, b: LabelMap) -> list[tuple[int, int, int]]:
    """The pairs of labels with most differing pixels in two label maps [H, W] of one photograph: (a, b, pixels)."""
    differs = a != b
    # Two 16-bit labels in one number.
    pairs, counts = np.unique(a[differs].astype(np.uint32) << 16 | b[differs], return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:MAX_SWAPS]
    return [(int(pairs[i]) >> 16, int(pairs[i]) & 0xFFFF, int(counts[i])) for i in largest]
