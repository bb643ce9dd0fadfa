"""Windows of an image's maps around points: crop maps to them, and paste their masks back into the image."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_maps import MAP_STRIDE

STEP = 4  # cells; sides of windows and of images are multiples
MIN_SIDE = 16  # smallest side in cells
EVEN = 2  # cells; corners are multiples, because some maps have half the resolution
FINER = MAP_STRIDE // STRIDE  # mask pixels per side of a cell

Corners = NDArray[np.int64]
Number = TypeVar("Number", np.float32, np.bool_)


class Windows(NamedTuple):
    """N windows of one size, in cells of MAP_STRIDE pixels: `corners` [N, 2] (row, column), `size` (rows, columns)."""

    corners: Corners
    size: tuple[int, int]

    def select(self, indices: NDArray[np.int64]) -> Windows:
        """The windows at these indices, with repetitions."""
        return self._replace(corners=self.corners[indices])


def window_size(cells: tuple[int, int]) -> tuple[int, int]:
    """Size (rows, columns) of the windows of an image of `cells`: half of its sides, a quarter of the work."""
    rows, columns = (min(side, max(MIN_SIDE, -(-side // (2 * STEP)) * STEP)) for side in cells)
    return rows, columns


def windows_around(points: Tensor, cells: tuple[int, int]) -> Windows:
    """Windows centred on points as far as the image's edges allow; points [N, 2] (x, y) in pixels of the input."""
    size = window_size(cells)
    middle = points.detach().cpu().numpy()[:, ::-1] / MAP_STRIDE - np.array(size) / 2
    corners = np.round(middle / EVEN).astype(np.int64) * EVEN
    return Windows(np.ascontiguousarray(np.clip(corners, 0, np.array(cells) - size)), size)


def crop(maps: Tensor, windows: Windows, cells: tuple[int, int]) -> Tensor:
    """Crop maps [1, C, H, W] to N windows: [N, C, ...]; the resolution is a multiple or a fraction of the cells'."""

    def span(axis: int, start: int) -> slice:
        n = maps.shape[2 + axis]
        return slice(start * n // cells[axis], (start + windows.size[axis]) * n // cells[axis])

    return torch.cat([maps[:, :, span(0, y), span(1, x)] for y, x in windows.corners.tolist()])


def inner_edge_pixels(logits: NDArray[np.float32], windows: Windows, cells: tuple[int, int]) -> NDArray[np.int64]:
    """Count the pixels [N, M] of masks, logits [N, M, h, w], along window edges that are not edges of the image."""
    starts, ends = windows.corners > 0, windows.corners + windows.size < cells
    edges = (logits[:, :, 0], logits[:, :, -1], logits[..., 0], logits[..., -1])
    inner = (starts[:, 0], ends[:, 0], starts[:, 1], ends[:, 1])
    counts = [np.count_nonzero(edge > 0, axis=2) for edge in edges]
    return np.sum([n * mask[:, None] for n, mask in zip(counts, inner, strict=True)], axis=0)


def paste(masks: NDArray[Number], windows: Windows, cells: tuple[int, int], fill: float = 0) -> NDArray[Number]:
    """Paste masks [N, h, w] of N windows into images of `cells` that are `fill` elsewhere: [N, H, W]."""
    images = np.full((len(masks), cells[0] * FINER, cells[1] * FINER), fill, masks.dtype)
    height, width = masks.shape[1:]
    for mask, image, (y, x) in zip(masks, images, (FINER * windows.corners).tolist(), strict=True):
        image[y : y + height, x : x + width] = mask
    return images


def sample(pixels: NDArray[np.int64], masks: NDArray[np.float32], windows: Windows, fill: float) -> NDArray[np.float32]:
    """Values [N, P] of masks [N, h, w] of N windows at image pixels [P, 2] (row, column); `fill` outside the window."""
    row, column = pixels.T[:, None] - FINER * windows.corners.T[..., None]  # [N, P] each
    height, width = masks.shape[1:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = np.arange(len(masks))[:, None]
    values = masks[index, np.where(inside, row, 0), np.where(inside, column, 0)]
    return np.where(inside, values, np.float32(fill))
