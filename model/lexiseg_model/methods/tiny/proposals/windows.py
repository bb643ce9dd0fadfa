"""Windows of an image's maps around points: crop maps to them, and paste their masks back.

A window is its corner [2] (row, column), in cells of the coarsest map: CELL pixels of the input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.graphs import SCALES
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_head import SharedMaps

FINER = SCALES[0]  # mask pixels per side of a cell
CELL = FINER * STRIDE
STEP = 2  # cells; sides of windows are multiples
MIN_SIDE = 8  # smallest side in cells
NOTHING = -20.0  # logit of pixels outside a window

Size = tuple[int, int]


def cells_of(coarse: Tensor) -> Size:
    """Rows and columns of the coarsest of SharedMaps."""
    return coarse.shape[2], coarse.shape[3]


def window_size(cells: Size) -> Size:
    """Rows and columns of the windows of an image with so many: half of its sides, a quarter of the work."""
    return _window_side(cells[0]), _window_side(cells[1])


def _window_side(whole: int) -> int:
    half = (whole + 2 * STEP - 1) // (2 * STEP) * STEP
    # Python's `max` and `min` would fix the size of the traced image in a graph.
    side: int = torch.sym_min(whole, torch.sym_max(MIN_SIDE, half))  # type: ignore[no-untyped-call]
    return side


def corners_around(points: Tensor, cells: Size) -> Tensor:
    """Corners [N, 2] int64 of windows centred on points [N, 2] (x, y), in input pixels, as far as the edges allow."""
    spans = zip(points.double().unbind(1), window_size(cells)[::-1], cells[::-1], strict=True)
    columns, rows = ((place / CELL - side / 2).round().long().clamp(0, whole - side) for place, side, whole in spans)
    return torch.stack([rows, columns], 1)


def crop(point: Tensor, corner: Tensor, shared: SharedMaps) -> tuple[Tensor, SharedMaps]:
    """A point [2] (x, y) in pixels of a window instead of the input, and the window's maps."""
    cells = cells_of(shared.coarse)
    size = window_size(cells)
    row, column = _inside(corner, cells, size)
    maps = (
        part.narrow(2, row * scale, size[0] * scale).narrow(3, column * scale, size[1] * scale)
        for part, scale in zip(shared, SCALES, strict=True)
    )
    return point - corner.flip(0).to(point) * CELL, SharedMaps(*maps)


def _inside(corner: Tensor, whole: Size, size: Size) -> list[int]:
    """Row and column of a corner, which leaves room for a window of that size; `torch.export` has to know that."""
    places: list[int] = corner.tolist()
    for place, most, side in zip(places, whole, size, strict=True):
        torch._check(place >= 0)  # type: ignore[no-untyped-call]
        torch._check(place <= most - side)  # type: ignore[no-untyped-call]
    return places


def paste(masks: Tensor, corner: Tensor, size: Size) -> Tensor:
    """Masks [M, *size] of an image from those of a window [M, h, w], NOTHING outside of it."""
    (height, width), (high, wide) = size, masks.shape[1:]
    row, column = _inside(corner * FINER, size, (high, wide))
    return F.pad(masks, (column, width - wide - column, row, height - high - row), value=NOTHING)


def inner_edge_pixels(masks: Tensor, corners: Tensor, size: Size) -> Tensor:
    """Count the pixels [N, M] of masks [N, M, h, w] along edges of their windows that are not edges of the image.

    `size`: height and width of masks of the image.
    """
    inside = masks > 0
    edges = [inside[:, :, 0], inside[:, :, -1], inside[..., 0], inside[..., -1]]
    row, column = (corners * FINER)[:, :, None].unbind(1)
    inner = [row > 0, row + masks.shape[2] < size[0], column > 0, column + masks.shape[3] < size[1]]
    return torch.stack([edge.sum(2) * mask for edge, mask in zip(edges, inner, strict=True)]).sum(0)
