"""What `tiny` is taught by in detail: its maps at twice the resolution, from four tiles, and colours and gradients."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.network import DECODER, MIDDLE
from lexiseg_model.methods.tiny.picture import resize_to
from lexiseg_model.methods.tiny.scores import enlarged

SIGMAS = 0.7, 1.5, 3.0, 6.0, 12.0  # of the Gaussians, in pixels of the network's input
# Gray, two opponent colours, gradient, Laplacian, and both curvatures: 0..1 times these vary as the decoder's channels.
UNITS = 8.0, 24.0, 20.0, 32.0, 24.0, 32.0, 32.0
COLOURS = len(SIGMAS) * len(UNITS)
SIZE = DECODER + MIDDLE + COLOURS
MAPS = ("fine_decoded", "fine_middle", "colours")  # [128, 2h, 2w], [120, h/2, w/2] and [35, 2h, 2w] of h x w cells


def quarters(picture: NDArray[np.uint8], tile: tuple[int, int]) -> NDArray[np.uint8]:
    """Four tiles [4, 3, *tile], row by row, which are an image [H, W, 3] at twice the resolution."""
    (height, width), whole = tile, resize_to(picture, (2 * tile[0], 2 * tile[1]))
    return whole.reshape(3, 2, height, 2, width).transpose(1, 3, 0, 2, 4).reshape(4, 3, height, width)


def maps_of(tile: NDArray[np.uint8], decoded: Tensor, middle: Tensor) -> dict[str, Tensor]:
    """The MAPS, float16, of the network's input [3, 4h, 4w] and of the maps [4, C, ...] of its quarters."""
    parts = _joined(decoded), _joined(middle), torch.from_numpy(colours(tile))
    return dict(zip(MAPS, parts, strict=True))


def _joined(quarters: Tensor) -> Tensor:
    """[4, C, a, b] -> [C, 2a, 2b]."""
    _, channels, rows, columns = quarters.shape
    parts = quarters.view(2, 2, channels, rows, columns).permute(2, 0, 3, 1, 4)
    return parts.reshape(channels, 2 * rows, 2 * columns)


def colours(tile: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Colours and gradients [35, H / 2, W / 2] of an image [3, H, W], blurred by each of SIGMAS."""
    red, green, blue = tile.astype(np.float32) / 255
    opponents = np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], 2)
    scales = [_at_scale(opponents, sigma) for sigma in SIGMAS]
    maps = np.concatenate(scales) * np.tile(np.array(UNITS, np.float32), len(SIGMAS))[:, None, None]
    pairs = maps[..., ::2] + maps[..., 1::2]
    means: NDArray[np.float16] = ((pairs[:, ::2] + pairs[:, 1::2]) / 4).astype(np.float16)
    return means


def _at_scale(opponents: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The seven maps [7, H, W] of colours [H, W, 3] at one scale; derivatives are in units of it."""
    blurred = cv2.GaussianBlur(opponents, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    gray = np.ascontiguousarray(blurred[..., 0])
    down, across = (sigma / 8 * cv2.Sobel(gray, -1, x, 1 - x) for x in (0, 1))
    yy, xx, xy = (sigma**2 / 4 * cv2.Sobel(gray, -1, *order) for order in ((0, 2), (2, 0), (1, 1)))
    mean, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    maps = (*np.moveaxis(blurred, 2, 0), np.hypot(across, down), 2 * mean, mean + apart, mean - apart)
    stacked: NDArray[np.float32] = np.stack(maps).astype(np.float32)
    return stacked


def has_detail(features: Features) -> bool:
    """Whether features were kept with `InferenceOptions.fine`."""
    return MAPS[0] in features.tensors


def cells(features: Features, like: Tensor) -> Tensor:
    """The detail [283, 2h, 2w] of all cells, on the device of `like` and of its type."""
    decoded, middle, of_colours = (features.tensors[name].to(like) for name in MAPS)
    return torch.cat([decoded, enlarged(middle, decoded.shape[1:]), of_colours])


def products(features: Features, directions: Tensor) -> Tensor:
    """Products [L, 2h, 2w] of directions [L, 283] with the detail of all cells."""
    maps = (features.tensors[name].to(directions) for name in MAPS)
    parts = zip(directions.tensor_split([DECODER, DECODER + MIDDLE], 1), maps, strict=True)
    decoded, middle, of_colours = ((part @ each.flatten(1)).view(-1, *each.shape[1:]) for part, each in parts)
    total: Tensor = decoded + enlarged(middle, decoded.shape[1:]) + of_colours
    return total
