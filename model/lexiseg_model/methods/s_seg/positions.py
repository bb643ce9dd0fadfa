"""Where a cell lies on a map, as sines and cosines of many wave lengths."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10_000.0  # DETR, as in MaskFormer
EPSILON = 1e-6


def sine_positions(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Position embedding of every cell: the first half of the channels says the row, the second the column.

    Rows count 1..height and are scaled so that the last is 2 pi, columns alike; even channels are sines, odd ones
    cosines of the same wave.

    Args:
        height, width: of the map.
        channels: a multiple of 4.
        like: gives dtype and device.

    Returns:
        [channels, height, width].
    """
    half = channels // 2
    waves = TEMPERATURE ** (2 * torch.div(torch.arange(half, device=like.device), 2, rounding_mode="floor") / half)

    def along(count: int) -> Tensor:  # [half, count]
        steps = torch.arange(1, count + 1, dtype=torch.float32, device=like.device)
        angles = (steps / (count + EPSILON) * 2 * math.pi) / waves[:, None]
        return torch.stack([angles[0::2].sin(), angles[1::2].cos()], 1).flatten(0, 1)

    rows = along(height)[:, :, None].expand(-1, -1, width)
    columns = along(width)[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns]).to(like.dtype)
