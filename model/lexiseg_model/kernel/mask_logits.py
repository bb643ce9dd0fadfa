"""Logits of the masks of prompts, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.axes import Axes
from lexiseg_model.kernel.library import call


def mask_logits(
    maps: NDArray[np.float32],
    fine: NDArray[np.float32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    axes: Axes,
) -> NDArray[np.float32]:
    """A prompt's own maps, upsampled, times those that all prompts of an image share.

    Args:
        maps: [N, C + M, h, w] of N prompts: C that multiply the shared maps, M that are added to the masks.
        fine: [C, H, W], the shared maps.
        weights: [M, C] of the products in each mask.
        bias: [M]
        axes: where the H x W pixels lie between the cells of the maps.

    Returns:
        [N, M, H, W]
    """
    maps, fine, weights = (np.ascontiguousarray(part, np.float32) for part in (maps, fine, weights))
    logits = np.empty((len(maps), len(bias), *axes.size), np.float32)
    sizes = (len(maps), len(fine), len(bias), *maps.shape[2:])
    call("mask_logits", maps, *sizes, fine, weights, np.ascontiguousarray(bias, np.float32), *axes.passed, logits)
    return logits
