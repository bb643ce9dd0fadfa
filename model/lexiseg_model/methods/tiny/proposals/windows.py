"""Windows of an image's maps, all of one size: where a lone point is answered without the rest of the picture."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_maps import MAP_STRIDE

STEP = 4  # cells: sides of windows are multiples, as those of the image are
LEAST = 16  # cells of a side
EVEN = 2  # cells: corners are multiples, for there are maps of half as many
FINER = MAP_STRIDE // STRIDE  # pixels of a mask across a cell

Corners = NDArray[np.int64]
Number = TypeVar("Number", np.float32, np.bool_)


class Windows(NamedTuple):
    """`corners` [N, 2], row and column of the first cell of each, and `size`, rows and columns of all, in cells of
    MAP_STRIDE pixels of the network's input."""

    corners: Corners
    size: tuple[int, int]

    def of(self, some: NDArray[np.int64]) -> Windows:
        """Of some of the N, each as often as it is named."""
        return self._replace(corners=self.corners[some])


def size_of(cells: tuple[int, int]) -> tuple[int, int]:
    """Of the windows of an image of so many rows and columns of cells: half of its sides, a quarter of the work."""
    rows, columns = (min(side, max(LEAST, -(-side // (2 * STEP)) * STEP)) for side in cells)
    return rows, columns


def around(points: Tensor, cells: tuple[int, int]) -> Windows:
    """As near to the middle of each as the edges of the image allow; points [N, 2] (x, y) in pixels of the input."""
    size = size_of(cells)
    middle = points.detach().cpu().numpy()[:, ::-1] / MAP_STRIDE - np.array(size) / 2
    corners = np.round(middle / EVEN).astype(np.int64) * EVEN
    return Windows(np.ascontiguousarray(np.clip(corners, 0, np.array(cells) - size)), size)


def cut(maps: Tensor, windows: Windows, cells: tuple[int, int]) -> Tensor:
    """[N, C, ...] of maps [1, C, H, W] that are finer or coarser than the cells by a whole number."""

    def part(axis: int, place: int) -> slice:
        n = maps.shape[2 + axis]
        return slice(place * n // cells[axis], (place + windows.size[axis]) * n // cells[axis])

    return torch.cat([maps[:, :, part(0, y), part(1, x)] for y, x in windows.corners.tolist()])


def on_inner_edges(logits: NDArray[np.float32], windows: Windows, cells: tuple[int, int]) -> NDArray[np.int64]:
    """[N, M]: how many pixels of each mask, logits [N, M, h, w], lie along those edges of its window behind which an
    image of so many rows and columns of cells goes on."""
    starts, ends = windows.corners > 0, windows.corners + windows.size < cells
    edges = (logits[:, :, 0], logits[:, :, -1], logits[..., 0], logits[..., -1])
    inner = (starts[:, 0], ends[:, 0], starts[:, 1], ends[:, 1])
    counts = [np.count_nonzero(edge > 0, axis=2) * goes_on[:, None] for edge, goes_on in zip(edges, inner, strict=True)]
    total: NDArray[np.int64] = np.sum(counts, axis=0)
    return total


def back(masks: NDArray[Number], windows: Windows, cells: tuple[int, int], nothing: float = 0) -> NDArray[Number]:
    """Masks [N, h, w] of N windows at their places amid `nothing`: [N, H, W] of so many rows and columns of cells."""
    whole = np.full((len(masks), cells[0] * FINER, cells[1] * FINER), nothing, masks.dtype)
    height, width = masks.shape[1:]
    for mask, place, (y, x) in zip(masks, whole, (FINER * windows.corners).tolist(), strict=True):
        place[y : y + height, x : x + width] = mask
    return whole


def at(pixels: NDArray[np.int64], masks: NDArray[np.float32], windows: Windows, nothing: float) -> NDArray[np.float32]:
    """[N, P]: masks [N, h, w] of N windows at pixels [P, 2], row and column, of the whole image; `nothing` outside."""
    row, column = pixels.T[:, None] - FINER * windows.corners.T[..., None]  # [N, P] each
    height, width = masks.shape[1:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    which = np.arange(len(masks))[:, None]
    seen = masks[which, np.where(inside, row, 0), np.where(inside, column, 0)]
    logits: NDArray[np.float32] = np.where(inside, seen, np.float32(nothing))
    return logits
