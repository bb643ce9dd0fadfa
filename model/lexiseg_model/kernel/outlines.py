"""The borders of masks, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import call


def outlines(spans: NDArray[np.int64], size: tuple[int, int]) -> list[list[NDArray[np.int64]]]:
    """The borders of each part of a mask, the largest part first.

    Args:
        spans: [N, 2], runs of the mask as places x * H + y, in order.
        size: (H, W).

    Returns:
        For each part its exterior and then its holes, each [n, 2] corners as x, y.
    """
    spans = np.ascontiguousarray(spans, np.int64)
    height, width = size
    columns = (spans[:, 1] - 1) // height - spans[:, 0] // height + 1  # of each run
    most = 4 * int(columns.sum()) + 4
    corners = np.empty((most, 2), np.int64)
    loops = np.empty((most // 4, 3), np.int64)
    n = call("outlines", spans, len(spans), height, width, most, corners, loops)
    exteriors: list[tuple[int, int, int, int]] = []  # what they are sorted by, and which loop they are
    holes: dict[int, list[tuple[int, int, int]]] = {}
    starts = [0, *loops[:n, 0].tolist()]
    first = corners[starts[:-1]].tolist()
    for loop, (area, part) in enumerate(loops[:n, 1:].tolist()):
        x, y = first[loop]
        if area > 0:
            exteriors.append((-area, y, x, loop))
        else:
            holes.setdefault(part, []).append((y, x, loop))

    def border(loop: int) -> NDArray[np.int64]:
        return corners[starts[loop] : starts[loop + 1]]

    return [
        [border(loop), *(border(hole) for _, _, hole in sorted(holes.get(int(loops[loop, 2]), ())))]
        for _, _, _, loop in sorted(exteriors)
    ]
