"""A mask's logits cut at 0, at the size of the image: as runs down the columns, without a picture of it.

Between two low-resolution rows an interpolated column is a straight line, so it crosses 0 there once or not at all.
Only these crossings are looked for; what lies between them is inside or outside as a whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel import spans as compiled
from lexiseg_model.masks.bilinear import Axis, axes, axis

# [N, 2] where runs of a mask begin and end (one past), as places y + x * H of an image H pixels high; ascending, apart.
Spans = NDArray[np.int64]


def cut(logits: NDArray[np.float32], size: tuple[int, int]) -> Spans:
    """Bilinear upsampling (align_corners=False) of a mask, and the runs of what of it is not below 0.

    They are those of the plain way (interpolate along the rows, then down the columns, in float32; compare), at the
    cost of the low-resolution rows and of the outline.

    Args:
        logits: [h, w], finite.
        size: (H, W) of the image.

    Returns:
        Runs; a run that reaches the lower edge goes on into the next column where that begins inside.
    """
    if library.ready():
        return compiled.cut(logits, axes((logits.shape[0], logits.shape[1]), size))
    y = _reaching_zero(axis(logits.shape[0], size[0]), logits.max(1))
    x = _reaching_zero(axis(logits.shape[1], size[1]), logits.max(0))
    if y is None or x is None:
        return np.zeros((0, 2), np.int64)
    (top, rows), (left, columns) = y, x
    corners = np.pad(logits, ((0, 1), (0, 1)), mode="edge")[rows.low[0] : rows.low[-1] + 2]  # each cell has four
    values = _along_columns(np.ascontiguousarray(corners.T), columns)
    column, row = _crossings(values, Axis(rows.low - rows.low[0], rows.weight))
    places = (column + left) * size[0] + row + top
    # Where no row of pixels lies between two crossings, or the next column goes on, they undo each other.
    first = np.flatnonzero(np.diff(places, prepend=-1))
    odd = np.diff(first, append=len(places)) % 2 == 1
    spans: Spans = places[first[odd]].reshape(-1, 2)
    return spans


def _reaching_zero(positions: Axis, highest: NDArray[np.float32]) -> tuple[int, Axis] | None:
    """The output positions from the first to the last with a corner that reaches 0, and where these begin."""
    corners = np.flatnonzero(highest >= 0)
    if not len(corners):
        return None
    first = int(np.searchsorted(positions.low, corners[0] - 1))
    last = int(np.searchsorted(positions.low, corners[-1], side="right"))
    if first == last:  # a smaller image than the mask: no pixel lies there
        return None
    return first, Axis(positions.low[first:last], positions.weight[first:last])


def _along_columns(corners: NDArray[np.float32], x: Axis) -> NDArray[np.float32]:
    """[w + 1, k] low-resolution columns -> [W, k] values of the output columns at the low-resolution rows."""
    cells = corners[x.low[0] : x.low[-1] + 2]
    low = x.low - x.low[0]
    values: NDArray[np.float32] = np.diff(cells, axis=0).take(low, 0)
    values *= x.weight[:, None]
    values += cells.take(low, 0)
    return values


def _crossings(values: NDArray[np.float32], y: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column and row of each pixel from which on a column is on the other side, column by column; rows may repeat.

    Above the first row and below the last all is outside.
    """
    n_columns, n_knots = values.shape
    inside = np.zeros((n_columns, n_knots + 2), np.bool_)
    np.greater_equal(values, 0, out=inside[:, 1:-1])
    # Gap 0 lies above the first low-resolution row, gap k between the rows k - 1 and k, the last below all.
    column, gap = np.divmod(np.flatnonzero(inside[:, 1:] != inside[:, :-1]), n_knots + 1)
    starts = np.searchsorted(y.low, np.arange(n_knots))  # of each gap but the first, its first pixel
    low = np.append(starts[0], starts)[gap]
    high = np.append(starts, starts[-1])[gap]
    knot = column * n_knots + (gap - 1).clip(0, n_knots - 2)
    flat = values.reshape(-1)
    upper = flat[knot]
    step = flat[knot + 1] - upper
    rising = step > 0
    weight = np.append(y.weight, np.float32(0))  # a search that has ended may look one past the last row
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        crossed = (upper + weight[middle] * step >= 0) == rising
        searching = low < high
        low = np.where(searching & ~crossed, middle + 1, low)
        high = np.where(searching & crossed, middle, high)
    return column, low
