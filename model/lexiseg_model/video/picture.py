"""A small colour picture of a frame, made from the tiles of its plan."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import Plan

MAX_SIDE = 256  # pixels; optical flow gains nothing from more (docs/video.md)

Picture = NDArray[np.uint8]  # [h, w, 3] RGB


def small_picture(plan: Plan) -> Picture:
    """The frame that a plan's tiles show, its longer side at most 256 pixels.

    Where tiles overlap the later one is seen, which shows the same.
    """
    canvas = plan.bucket if plan.layout is None else plan.layout.canvas
    factor = min(1.0, MAX_SIDE / max(canvas))
    height, width = (max(1, round(side * factor)) for side in canvas)
    if plan.layout is None:
        return _shrunk(plan.tiles[0], (height, width))
    picture = np.zeros((height, width, 3), np.uint8)
    for tile, (top, left) in zip(plan.tiles, plan.layout.offsets, strict=True):
        rows = _span(top, tile.shape[1], factor, height)
        columns = _span(left, tile.shape[2], factor, width)
        picture[rows, columns] = _shrunk(tile, (rows.stop - rows.start, columns.stop - columns.start))
    return picture


def _span(first: int, length: int, factor: float, end: int) -> slice:
    """Where a tile lies on the small picture: at least one pixel, never beyond the end."""
    start = min(round(first * factor), end - 1)
    return slice(start, min(end, max(start + 1, round((first + length) * factor))))


def _shrunk(tile: NDArray[np.uint8], size: tuple[int, int]) -> Picture:
    """[3, s, t] -> [h, w, 3]."""
    pixels = np.ascontiguousarray(tile.transpose(1, 2, 0))
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.uint8)
