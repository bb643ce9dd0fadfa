"""Where the pixels of an answer lie between low-resolution cells, as the kernel is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import Passed, passed


@dataclass(frozen=True, eq=False)
class Axes:
    """Down and across: for each pixel the cell before it, and the weight of the next: [H], [H], [W], [W]."""

    y_low: NDArray[np.intp]
    y_weight: NDArray[np.float32]
    x_low: NDArray[np.intp]
    x_weight: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        return len(self.y_low), len(self.x_low)

    @property
    def nbytes(self) -> int:
        """Bytes of all four."""
        return sum(part.nbytes for part in (self.y_low, self.y_weight, self.x_low, self.x_weight))

    @cached_property
    def passed(self) -> tuple[Passed, ...]:
        """As arguments: places, weights and number of pixels, down and across."""
        arguments = self.y_low, self.y_weight, self.size[0], self.x_low, self.x_weight, self.size[1]
        return tuple(passed(argument) for argument in arguments)
