"""Windows of an image's maps around points: crop maps to them, and paste their masks back into the image.

Windows have one size (rows, columns) and corners [N, 2] (row, column), in cells of MAP_STRIDE pixels, as their image.
"""

from __future__ import annotations

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

Size = tuple[int, int]
Corners = NDArray[np.int64]


def window_size(cells: Size) -> Size:
    """Size of the windows of an image: half of its sides, a quarter of the work."""
    rows, columns = (min(side, max(MIN_SIDE, -(-side // (2 * STEP)) * STEP)) for side in cells)
    return rows, columns


def corners_around(points: Tensor, cells: Size) -> Corners:
    """Corners of windows centred on points as far as the edges allow; points [N, 2] (x, y) in pixels of the input."""
    size = np.array(window_size(cells))
    middle = points.detach().cpu().numpy()[:, ::-1] / MAP_STRIDE - size / 2
    corners = np.round(middle / EVEN).astype(np.int64) * EVEN
    return np.ascontiguousarray(np.clip(corners, 0, np.array(cells) - size))


def crop(maps: Tensor, corners: Corners, cells: Size) -> Tensor:
    """Crop maps [1, C, H, W] to N windows: [N, C, ...]; the resolution is a multiple or a fraction of the cells'."""
    size = window_size(cells)

    def span(axis: int, start: int) -> slice:
        n = maps.shape[2 + axis]
        return slice(start * n // cells[axis], (start + size[axis]) * n // cells[axis])

    return torch.cat([maps[:, :, span(0, y), span(1, x)] for y, x in corners.tolist()])


def inner_edge_pixels(logits: NDArray[np.float32], corners: Corners, cells: Size) -> NDArray[np.int64]:
    """Count the pixels [N, M] of masks, logits [N, M, h, w], along window edges that are not edges of the image."""
    starts, ends = corners > 0, corners + window_size(cells) < cells
    edges = (logits[:, :, 0], logits[:, :, -1], logits[..., 0], logits[..., -1])
    inner = (starts[:, 0], ends[:, 0], starts[:, 1], ends[:, 1])
    counts = [np.count_nonzero(edge > 0, axis=2) for edge in edges]
    total: NDArray[np.int64] = np.sum([n * mask[:, None] for n, mask in zip(counts, inner, strict=True)], axis=0)
    return total


def paste(masks: NDArray[np.float32], corners: Corners, cells: Size, fill: float) -> NDArray[np.float32]:
    """Paste masks [N, M, h, w] of N windows into images that are `fill` elsewhere: [N, M, H, W]."""
    images = np.full((*masks.shape[:2], cells[0] * FINER, cells[1] * FINER), fill, masks.dtype)
    height, width = masks.shape[2:]
    for mask, image, (y, x) in zip(masks, images, (FINER * corners).tolist(), strict=True):
        image[:, y : y + height, x : x + width] = mask
    return images
