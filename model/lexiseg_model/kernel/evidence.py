"""What masks show of themselves, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


class Shown(NamedTuple):
    """Of masks [N]: cells above 0, above a threshold and above its negative, the contrast along the outline, and how
    many sides of cells that has; float64."""

    area: NDArray[np.float64]
    inner: NDArray[np.float64]
    outer: NDArray[np.float64]
    contrast: NDArray[np.float64]
    sides: NDArray[np.float64]


def shown(
    masks: NDArray[np.float32], across: NDArray[np.float32], down: NDArray[np.float32], every: int, around: float
) -> Shown:
    """Of logits [N, h, w].

    Args:
        masks: logits.
        across: [h, w - 1], contrast between a cell and the next one.
        down: [h - 1, w], the same to the cell below.
        every: a cell of so many, each way, is counted for areas.
        around: the threshold, above 0.
    """
    numbers = np.empty((len(masks), 5))
    masks, across, down = (np.ascontiguousarray(part, np.float32) for part in (masks, across, down))
    call("evidence", masks, *masks.shape, across, down, every, float(around), numbers)
    return Shown(*numbers.T)
