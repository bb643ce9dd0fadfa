"""Masks as people like them: stable under another threshold, without specks and pinholes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The demo of the released code: Segment Anything's score around 0.5, taken of logits; and specks of its own.
STABLE = 0.92
MIDDLE, AROUND = 0.5, 0.1
SMALLEST = 15  # pixels


def stability(masks: Tensor, middle: float = MIDDLE, around: float = AROUND) -> Tensor:
    """How little a mask's area depends on the threshold: pixels above the higher one over those above the lower.

    Args:
        masks: logits [N, H, W].
        middle, around: the two thresholds are `middle` plus and minus `around`.

    Returns:
        [N] in 0..1; 0 for masks that are empty at the lower threshold.
    """
    inner = (masks > middle + around).flatten(1).sum(1)
    outer = (masks > middle - around).flatten(1).sum(1)
    return inner / outer.clamp(min=1).to(torch.float32)


def without_specks(mask: NDArray[np.bool_], smallest: int = SMALLEST) -> NDArray[np.bool_]:
    """Fills holes of fewer pixels than `smallest`, then drops parts of fewer; parts hang together by corners too.

    If every part is small, the largest stays. [H, W] bool -> same.
    """
    filled = mask | _small_parts(~mask, smallest)
    n_parts, parts, areas = _parts(filled)
    if not n_parts:
        return filled
    kept = areas >= smallest
    kept[areas.argmax()] = True
    cleaned: NDArray[np.bool_] = np.concatenate([[False], kept])[parts]
    return cleaned


def _small_parts(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    _, parts, areas = _parts(mask)
    small: NDArray[np.bool_] = np.concatenate([[False], areas < smallest])[parts]
    return small


def _parts(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """How many parts, [H, W] which (from 1, 0 outside), and the pixels of each."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count - 1, parts.astype(np.int32), stats[1:, cv2.CC_STAT_AREA].astype(np.int32)
