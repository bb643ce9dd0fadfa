"""Pixel-adaptive mask refinement, compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def refine(
    maps: NDArray[np.float32],
    image: NDArray[np.float32],
    dilations: Sequence[int],
    iterations: int,
    refined: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As `lexiseg_model.masks.pamr.refine`.

    Args:
        maps: [K, H, W].
        image: [C, H, W].
        dilations: how far away eight neighbours are, each.
        iterations: how often; not at all is nothing to call this for.
        refined: [K, H, W] contiguous, where the refined maps go, `maps` itself if that may be; None: to new memory.

    Returns:
        [K, H, W]
    """
    maps = np.ascontiguousarray(maps, np.float32)
    if refined is None:
        refined = np.empty_like(maps)
    colours = np.ascontiguousarray(image, np.float32)
    away = np.array(dilations, np.int64)
    call("pamr", maps, refined, *maps.shape, colours, len(colours), away, len(away), iterations)
    return refined
