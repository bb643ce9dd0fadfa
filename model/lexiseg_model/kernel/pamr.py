"""Pixel-adaptive mask refinement, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def refine(
    maps: NDArray[np.float32],
    image: NDArray[np.float32],
    neighbours: NDArray[np.int64],
    samples: int,
    iterations: int,
) -> NDArray[np.float32]:
    """As `lexiseg_model.masks.pamr.refine`.

    Args:
        maps: [K, H, W].
        image: [C, H, W].
        neighbours: [N, 2], how far down and across each is.
        samples: what a deviation is taken of, the neighbours and so many times the pixel itself.
        iterations: how often.

    Returns:
        [K, H, W]
    """
    maps = np.ascontiguousarray(maps, np.float32)
    refined = np.empty_like(maps)
    colours = np.ascontiguousarray(image, np.float32)
    down, across = np.ascontiguousarray(neighbours.T, np.int64)
    reach = int(np.abs(neighbours).max(initial=0))
    counts = (len(down), reach, samples, iterations)
    call("pamr", maps, refined, *maps.shape, colours, len(colours), down, across, *counts)
    return refined
