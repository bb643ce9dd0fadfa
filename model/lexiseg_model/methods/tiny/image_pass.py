"""The image pass of `tiny`: the shapes that it takes, and it as one module, which is written down as a graph."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.masks.shrink import shrink
from lexiseg_model.methods.tiny.network import MEAN, STD, TinyNetwork
from lexiseg_model.types import InputSize


class ImagePass(nn.Module):
    """uint8 tiles [N, 3, s, t] -> pixels [N, 96, s/4, t/4], image [N, 96] and cells [N, 96, s/32, t/32]; in float32."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("inverse_std", 1 / torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.inverse_std: Tensor

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network((tiles.float() - self.mean) * self.inverse_std)
        return features.pixels, features.image, features.cells


def fitted(size: tuple[int, int], limits: InputSize, max_side: int | None) -> tuple[int, int]:
    """The input shape (height, width) for an image of `size`; sides are rounded, not padded."""
    long_side = limits.long_side
    if max_side is not None:  # whole multiples of it, or rounding could go beyond the cap
        long_side = min(long_side, max_side // limits.multiple * limits.multiple)
    factor = min(limits.short_side / min(size), long_side / max(size))
    height, width = (max(limits.multiple, round(side * factor / limits.multiple) * limits.multiple) for side in size)
    return height, width


def first(batched: Tensor) -> Tensor:
    """The first of a batch; a view of more would keep that in memory for as long as the image is remembered."""
    return batched[0] if batched.untyped_storage().nbytes() == batched[0].nbytes else batched[0].clone()


def brought_to(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] -> planes [3, h, w] of that size."""
    if size[0] * size[1] < rgb.shape[0] * rgb.shape[1]:
        return shrink(rgb, size)
    resized = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def buckets(limits: InputSize) -> tuple[tuple[int, int], ...]:
    """Every input shape (height, width) of images up to `long_side / short_side` times as long as wide, 2.2 for tiny.

    Longer ones, panoramas and the like, have shapes of their own: their first image pass takes a little more.
    """
    wide = [(limits.short_side, side) for side in range(limits.short_side, limits.long_side + 1, limits.multiple)]
    return tuple(sorted({*wide, *((width, height) for height, width in wide)}))
