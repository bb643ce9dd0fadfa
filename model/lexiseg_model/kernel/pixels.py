"""Pictures made smaller, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def halve(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As `lexiseg_model.masks.halve.halve`: [N, H, W] of even sides -> [N, H / 2, W / 2]."""
    planes = np.ascontiguousarray(planes)
    halved = np.empty((len(planes), planes.shape[1] // 2, planes.shape[2] // 2), np.uint8)
    call("halve", planes, *halved.shape, halved)
    return halved
