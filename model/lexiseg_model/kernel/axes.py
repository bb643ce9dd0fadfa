"""Where the pixels of an answer lie between low-resolution cells, as the kernel is told."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Axes(NamedTuple):
    """Down and across: for each pixel the cell before it, and the weight of the next: [H], [H], [W], [W]."""

    y_low: NDArray[np.intp]
    y_weight: NDArray[np.float32]
    x_low: NDArray[np.intp]
    x_weight: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        return len(self.y_low), len(self.x_low)

    @property
    def passed(self) -> tuple[NDArray[np.intp] | NDArray[np.float32] | int, ...]:
        """As arguments: places, weights and number of pixels, down and across."""
        return self.y_low, self.y_weight, self.size[0], self.x_low, self.x_weight, self.size[1]
