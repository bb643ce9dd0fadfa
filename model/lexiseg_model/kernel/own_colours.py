"""An object's own colours against those around it, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


class Numbers(NamedTuple):
    """Of `lexiseg_model.methods.tiny.own_colours`: a rule's ring, weight and bound, and what holds for all rules."""

    ring: float
    weight: float
    bound: float
    certain: float
    parts: float
    most: float
    floor: float


def with_colours(
    masks: NDArray[np.float32],
    boxes: NDArray[np.float32],
    has_box: NDArray[np.bool_],
    colour: NDArray[np.int32],
    bins: int,
    numbers: Numbers,
) -> NDArray[np.float32]:
    """Logits [N, h, w] that know their object's colours.

    Args:
        masks: logits [N, h, w].
        boxes: [N, 4] x0, y0, x1, y1 in cells, read where has_box [N] says so.
        has_box: whether a mask has a box.
        colour: [h * w] the bin of each cell's colour, below bins ** 3.
        bins: along each axis of colour.
        numbers: of the rule.
    """
    seen = np.empty(masks.shape, np.float32)
    masks, boxes = (np.ascontiguousarray(part, np.float32) for part in (masks, boxes))
    has_box, colour = np.ascontiguousarray(has_box), np.ascontiguousarray(colour)
    call("own_colours", masks, *masks.shape, boxes, has_box, colour, bins, *map(float, numbers), seen)
    return seen
