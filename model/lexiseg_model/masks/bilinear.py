"""Bilinear upsampling as torch's (align_corners=False): its weights, and masks upsampled and cut at 0."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.kernel.library import Axes
from lexiseg_model.pictures.bands import bands

BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))
# [N, 2] where runs of a mask begin and end (one past), as places y + x * H of an image H pixels high; ascending, apart.
Spans = NDArray[np.int64]


class Axis(NamedTuple):
    """Interpolation along one axis: lower input index and weight of the next for each output (half-pixel centres)."""

    low: NDArray[np.intp]
    weight: NDArray[np.float32]  # 0..1, below 1, so that two negative inputs never interpolate to 0


@lru_cache(8)
def axis(cells: int, pixels: int) -> Axis:
    """Interpolation of `cells` inputs to `pixels` outputs, cached and read-only."""
    position = ((np.arange(pixels) + 0.5) * (cells / pixels) - 0.5).clip(0, cells - 1)
    low = np.floor(position).astype(np.intp)
    interpolation = Axis(low, np.minimum((position - low).astype(np.float32), BELOW_ONE))
    for array in interpolation:
        array.flags.writeable = False
    return interpolation


@lru_cache(8)
def axes(cells: tuple[int, int], size: tuple[int, int]) -> Axes:
    """Interpolation of cells (h, w) to an output of `size` (H, W), in the kernel's layout."""
    return Axes(*axis(cells[0], size[0]), *axis(cells[1], size[1]))


def cut(logits: NDArray[np.float32], size: tuple[int, int]) -> Spans:
    """Upsample a mask bilinearly (align_corners=False) and give the runs of what is not below 0.

    Interpolated along the rows, then down the columns, in float32. The kernel finds the crossings of 0 between
    low-resolution rows, at the cost of the outline; numpy looks at every pixel. Logits [h, w] are finite. A run that
    reaches the lower edge goes on into the next column where that begins inside.
    """
    if library.ready():
        return library.cut(logits, axes((logits.shape[0], logits.shape[1]), size))
    corners = np.pad(logits, ((0, 1), (0, 1)), mode="edge")  # each cell has four
    y, x = axis(logits.shape[0], size[0]), axis(logits.shape[1], size[1])
    values = (np.diff(corners, axis=1)[:, x.low] * x.weight + corners[:, x.low]).T  # [W, h + 1]
    inside = np.zeros(size[1] * size[0] + 2, np.bool_)  # between two places outside
    for columns in bands((size[1], size[0])):
        step = np.diff(values[columns], axis=1)
        pixels = values[columns][:, y.low] + y.weight * step[:, y.low]
        inside[1 + columns.start * size[0] : 1 + columns.stop * size[0]] = (pixels >= 0).reshape(-1)
    spans: Spans = np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2)
    return spans
