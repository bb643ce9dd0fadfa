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
PIXELS_OF_A_CELL = 16  # of a mask, in the network's input


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


def tidied(masks: Tensor, specks: int) -> Tensor:
    """Logits without holes and parts smaller than so many pixels of the network's input: [N, H/4, W/4] -> same.

    What changes sides keeps its distance from 0.
    """
    smallest = specks // PIXELS_OF_A_CELL
    if smallest < 2:  # no part is smaller than a cell
        return masks
    inside = masks > 0
    clean = [torch.from_numpy(without_specks(each, smallest)) for each in inside.cpu().numpy()]
    if not clean:
        return masks
    changed = torch.stack(clean).to(masks.device) != inside
    return torch.where(changed, -masks, masks)


def _small_parts(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    _, parts, areas = _parts(mask)
    small: NDArray[np.bool_] = np.concatenate([[False], areas < smallest])[parts]
    return small


def _parts(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """How many parts, [H, W] which (from 1, 0 outside), and the pixels of each."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count - 1, parts.astype(np.int32), stats[1:, cv2.CC_STAT_AREA].astype(np.int32)
