"""Positions as random Fourier features: what tells a place in the image from another, at any resolution.

As in Segment Anything: coordinates in 0..1 are projected by a fixed Gaussian matrix, kept with the weights.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

CPU = torch.device("cpu")


class FourierPositions(nn.Module):
    """Coordinates -> vectors of `width`, half sines and half cosines of random frequencies."""

    matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """[..., 2] (x, y), 0..1 from edge to edge of the image -> [..., width]."""
        angles = (2 * places - 1) @ self.matrix * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], -1)

    def grid(self, height: int, width: int) -> Tensor:
        """Of the centres of height x width cells, row by row: [height * width, width of the vectors]."""
        vectors: Tensor = self(cell_centres(height, width, self.matrix.device).to(self.matrix))
        return vectors


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # training reads them, too
def cell_centres(height: int, width: int, device: torch.device = CPU) -> Tensor:
    """(x, y) in 0..1 of the centres of height x width equal cells, row by row: [height * width, 2] float32.

    Kept, for reading alone: to bring numbers to a GPU holds its work up, and is nothing that a graph can hold.
    """
    y, x = ((torch.arange(n, dtype=torch.float32) + 0.5) / n for n in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1).to(device)
