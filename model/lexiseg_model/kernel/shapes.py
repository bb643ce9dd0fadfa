"""Masks in C: cuts, run lengths, regions, outlines."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel.library import MAX_CHARACTERS, Axes, call, is_wide
from lexiseg_model.types import LabelMap, Rle


def cut(logits: NDArray[np.float32], axes: Axes) -> NDArray[np.int64]:
    """As `lexiseg_model.masks.upsample.cut`: logits [h, w] -> spans [N, 2]."""
    logits = np.ascontiguousarray(logits, np.float32)
    height, width = logits.shape
    bounds = np.empty(axes.size[1] * (height + 2) + 2, np.int64)  # the most that there can be
    n = call("cut", logits, height, width, *axes.arguments, bounds)
    return bounds[:n].reshape(-1, 2).copy()


def encode_spans(spans: NDArray[np.int64], size: tuple[int, int]) -> Rle:
    """The RLE of spans [N, 2], as `masks.rle.encode_spans`."""
    spans = np.ascontiguousarray(spans, np.int64)
    summary = np.empty(6, np.int64)
    text = np.empty(MAX_CHARACTERS * (len(spans) + 1), np.uint8)
    call("encode_spans", spans, len(spans), size[0], size[0] * size[1], summary, text)
    area, x, y, width, height, end = summary.tolist()
    return Rle(size, text[:end].tobytes().decode("ascii"), area, (x, y, width, height))


class Connected(NamedTuple):
    """The N connected regions of a label map, in row-major order of their first pixels, and its R row-major runs."""

    size: tuple[int, int]
    ends: NDArray[np.int64]  # [R] exclusive
    region: NDArray[np.int32]  # [R]
    classes: NDArray[np.int32]  # [N]
    areas: NDArray[np.int64]  # [N] pixels

    def painted(self, values: NDArray[Any]) -> NDArray[Any]:
        """Map [H, W] in which every pixel has its region's value, of `values` [N]."""
        return np.repeat(values[self.region], np.diff(self.ends, prepend=0)).reshape(self.size)


def connect(labels: LabelMap) -> Connected:
    """Label the 4-connected regions of equal labels; labels [H, W] uint8 or uint16."""
    labels = np.ascontiguousarray(labels)
    size = (labels.shape[0], labels.shape[1])
    n = call("count_row_runs", labels, *size, is_wide(labels))
    ends, region, areas = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int64)
    classes = np.empty(n, np.int32)
    n_regions = call("connect", labels, *size, is_wide(labels), n, ends, region, areas, classes)
    return Connected(size, ends, region, classes[:n_regions], areas[:n_regions])


def outlines(spans: NDArray[np.int64], size: tuple[int, int]) -> list[list[NDArray[np.int64]]]:
    """The contours of each 4-connected part of a mask by its spans, the largest part first.

    Each part has its exterior, then its holes, [n, 2] pixel corners as x, y.
    """
    spans = np.ascontiguousarray(spans, np.int64)
    height, width = size
    columns = (spans[:, 1] - 1) // height - spans[:, 0] // height + 1  # of each run
    max_corners = 4 * int(columns.sum()) + 4
    corners = np.empty((max_corners, 2), np.int64)
    loops = np.empty((max_corners // 4, 3), np.int64)  # end in `corners`, twice the signed area, part
    n = call("outlines", spans, len(spans), height, width, max_corners, corners, loops)
    exteriors: list[tuple[int, int, int, int]] = []  # sort key (-area, y, x), index of the loop
    holes: dict[int, list[tuple[int, int, int]]] = {}
    starts = [0, *loops[:n, 0].tolist()]
    first = corners[starts[:-1]].tolist()
    for loop, (area, part) in enumerate(loops[:n, 1:].tolist()):
        x, y = first[loop]
        if area > 0:
            exteriors.append((-area, y, x, loop))
        else:
            holes.setdefault(part, []).append((y, x, loop))

    def contour(loop: int) -> NDArray[np.int64]:
        return corners[starts[loop] : starts[loop + 1]]

    return [
        [contour(loop), *(contour(hole) for _, _, hole in sorted(holes.get(int(loops[loop, 2]), ())))]
        for _, _, _, loop in sorted(exteriors)
    ]
